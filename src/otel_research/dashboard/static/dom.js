// Elements, text and numbers. Text from spans only ever becomes text nodes: no markup is parsed anywhere.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes, ...children) {
  return made(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

// Control characters and direction marks would change how the rest of the line reads: they are shown by name.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

export function visible(text) {
  return String(text).replace(HIDDEN, (found) => {
    const code = found.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

// What names have in common is mostly their beginning: a short cut leaves the end as well.
export function cut(text, limit) {
  if (text.length <= limit) return text;
  const end = limit > 120 ? 0 : Math.floor(limit / 3);
  return `${text.slice(0, limit - end - 1)}…${end ? text.slice(-end) : ""}`;
}

export function user(text, limit = 400) {
  if (text === null || text === undefined) return h("span", { class: "quiet" }, "–");
  const shown = visible(text);
  const title = shown.length > 400 ? `${shown.length.toLocaleString("en")} characters` : shown.length > 30 ? shown : null;
  return h("bdi", { class: "user", title }, cut(shown, limit));
}

export const grouped = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));

// Four significant digits; the same rule as the terminal's.
export function amount(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  if (Math.abs(value) >= 10000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

export function usd(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 100) return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return Math.abs(value) >= 0.01 ? value.toFixed(4) : String(Number(value.toPrecision(3)));
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${amount(100 * value)} %`);

export function interval(found, scale = 1, show = amount) {
  if (!found) return null;
  const low = found.low === null ? "-∞" : show(found.low * scale);
  const high = found.high === null ? "∞" : show(found.high * scale);
  const level = Math.round(100 * found.level);
  return h("span", { class: "ci", title: `${level} % interval, ${found.method}` }, ` [${low}, ${high}]`);
}

export function when(ms) {
  if (ms === null || ms === undefined) return "–";
  return new Date(ms).toISOString().replace("T", " ").slice(0, 19);
}

export function clock(ms) {
  return ms === null || ms === undefined ? "–" : new Date(ms).toISOString().slice(11, 23);
}

export function lasted(ms) {
  const seconds = ms / 1000;
  if (seconds < 120) return `${amount(Number(seconds.toPrecision(3)))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Number((seconds / 3600).toPrecision(3))} h` : `${Math.round(seconds / 86400)} d`;
}

export const ago = (ms) => `${lasted(1000 * Math.round(Math.max(0, Date.now() - ms) / 1000))} ago`;

export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return parent;
}

export function card(title, { sub = null, right = null, wide = false, id = null } = {}) {
  const body = h("div", {});
  const heading = h("h2", {}, title, sub && h("span", { class: "sub" }, sub), right && h("span", { class: "right" }, right));
  return { element: h("section", { class: `card${wide ? " wide" : ""}`, id, "aria-label": title }, heading, body), body, heading };
}

export async function get(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  if (answer.status === 401) throw new Error("The token is not known here. Open the address that `otel-research serve` printed.");
  const data = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(data.error || `the server answered ${answer.status}`);
  return data;
}

// Why there are no numbers, for the codes that results give as a reason; other reasons are sentences.
const REASONS = { no_call_spans: "No span is a request to a model yet.", no_trial_spans: "No trial has ended yet.", no_spans: "No span has ended yet." };
export const reason = (code) => REASONS[code] || visible(code);

export const problem = (error) => h("p", { class: "problem" }, visible(error.message || error));

export function table(headings, rows, { label = null } = {}) {
  const head = h("tr", {}, headings.map((heading) => h("th", { class: heading.startsWith("#") ? "n" : null, scope: "col" }, heading.replace(/^#/, ""))));
  return h("div", { class: "scroll" }, h("table", { "aria-label": label }, h("thead", {}, head), h("tbody", {}, rows)));
}

// Files of what an address tells; `address` has a query or not.
export const files = (address, what = "") => [["csv", "CSV"], ["parquet", "Parquet"]].map(([format, name]) =>
  h("a", { href: `${address}${address.includes("?") ? "&" : "?"}format=${format}`, download: true }, `${what}${name}`));

export const cells = (...values) => values.map((value) => (value instanceof Node && value.tagName === "TD" ? value : h("td", {}, value)));
export const number = (...children) => h("td", { class: "n" }, children);
