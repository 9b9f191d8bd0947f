// One trace: the tree with its waterfall, and everything that the chosen span says.

import { amount, card, fill, get, grouped, h, problem, s, usd, user, visible, when } from "./dom.js";

export async function show({ main, top, foot, parts: [id, trace] }) {
  document.title = "Trace · otel-research";
  fill(top, h("a", { class: "crumb", href: "/" }, "experiments /"), h("a", { class: "crumb", href: `/experiment/${id}` }, id.slice(0, 12), " /"), h("h1", {}, "trace"));
  fill(main, h("p", { class: "quiet" }, "Reading the trace …"));
  const data = await get(`/api/experiments/${id}/trace/${trace}`).catch((error) => { fill(main, problem(error)); return null; });
  if (!data) return;
  document.title = `Trace of ${visible(data.experiment.name)} · otel-research`;
  const spans = data.spans, starts = spans.map((span) => span.start_ms).filter((t) => t !== null), ends = spans.map((span) => span.end_ms ?? span.start_ms).filter((t) => t !== null);
  const from = Math.min(...starts), to = Math.max(...ends, from + 0.001);
  fill(top, h("a", { class: "crumb", href: "/" }, "experiments /"), h("a", { class: "crumb", href: `/experiment/${id}` }, user(data.experiment.name), " /"), h("h1", {}, "trace"),
    h("span", { class: "facts" }, h("span", { class: "mono" }, trace.slice(0, 16)), "… · ", `${when(from)} UTC · ${grouped(data.total)} spans${data.shown < data.total ? `, the first ${grouped(data.shown)} are shown` : ""} · ${amount(Number((to - from).toPrecision(4)))} ms`));
  const list = h("ul", { class: "tree", role: "tree", "aria-label": "Spans" });
  const tree = card("Spans", { sub: "arrow keys move" }), detail = card("Span");
  const items = spans.map((span, index) => {
    const x = ((span.start_ms ?? from) - from) / (to - from), width = ((span.end_ms ?? to) - (span.start_ms ?? from)) / (to - from);
    const kind = span.status === "error" || span.error_type ? "error" : span.is_call ? "call" : "other";
    const bar = s("svg", { height: 14, width: "100%", viewBox: "0 0 1000 14", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: `fillbar ${kind}`, x: 1000 * x, y: 3, width: Math.max(3, 1000 * width), height: 8 }));
    const label = h("span", { class: "label" }, user(span.name, 160));
    label.style.paddingLeft = `${Math.min(span.depth, 24) * 14}px`;
    return h("li", { role: "treeitem", tabindex: -1, id: `s-${span.span_id}`, "aria-level": span.depth + 1, "aria-selected": "false", onclick: () => choose(index) }, label, bar, h("span", { class: "time" }, span.duration_ms === null ? "–" : `${amount(Number(span.duration_ms.toPrecision(4)))} ms`));
  });
  fill(list, items);
  fill(tree.body, list);
  fill(main, h("div", { class: "trace" }, tree.element, detail.element));
  let chosen = -1, tab = "overview";
  function choose(index, isFocus = true) {
    if (index < 0 || index >= spans.length) return;
    if (chosen >= 0) { items[chosen].setAttribute("aria-selected", "false"); items[chosen].tabIndex = -1; }
    chosen = index;
    items[index].setAttribute("aria-selected", "true");
    items[index].tabIndex = 0;
    if (isFocus) items[index].focus();
    history.replaceState(null, "", `#${spans[index].span_id}`);
    describe(spans[index]);
  }
  list.addEventListener("keydown", (event) => {
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: spans.length - 1, j: chosen + 1, k: chosen - 1 }[event.key];
    if (to === undefined) return;
    choose(Math.min(Math.max(to, 0), spans.length - 1));
    event.preventDefault();
  });
  function describe(span) {
    const tabs = { overview, content: () => content(span, data.experiment.content), attributes: () => pairs(span.attributes), events: () => events(span), raw: () => raw(span) };
    const names = { overview: "Overview", content: "Prompt and completion", attributes: `Attributes (${Object.keys(span.attributes).length})`, events: `Events (${span.events.length})`, raw: "Raw JSON" };
    const body = h("div", { role: "tabpanel", tabindex: 0 });
    const open = (name) => {
      tab = name;
      for (const button of bar.children) button.setAttribute("aria-selected", button.dataset.tab === name);
      fill(body, [tabs[name](span)].flat());
    };
    const bar = h("div", { class: "tabs", role: "tablist" }, Object.entries(names).map(([name, text]) => h("button", { role: "tab", "data-tab": name, onclick: () => open(name) }, text)));
    fill(detail.heading, user(span.name, 200));
    fill(detail.body, bar, body);
    open(tab);
  }
  foot(h("a", { href: `/api/experiments/${id}/trace/${trace}` }, "trace as JSON"), h("a", { href: location.pathname }, "permalink"));
  choose(Math.max(0, spans.findIndex((span) => span.span_id === location.hash.slice(1))), false);
}

function overview(span) {
  const shown = { status: span.error_type || span.status, duration: span.duration_ms === null ? "–" : `${amount(span.duration_ms)} ms`, started: `${when(span.start_ms)} UTC`, role: span.role, "counts as a call": span.is_call ? "yes" : `no${span.facts.excluded_because ? ` (${span.facts.excluded_because})` : ""}`,
    model: span.request_model, "tokens in / out": span.input_tokens === null && span.output_tokens === null ? null : `${grouped(span.input_tokens)} / ${grouped(span.output_tokens)}`, cost: span.is_call ? (span.cost_usd === null ? "unpriced" : `${usd(span.cost_usd)} USD (${span.facts.cost_source})`) : null, condition: span.condition, "span id": span.span_id };
  const rest = Object.entries(span.facts).filter(([name]) => !["excluded_because", "cost_source"].includes(name)).map(([name, value]) => [name.replaceAll("_", " "), value]);
  return pairs(Object.fromEntries([...Object.entries(shown), ...rest].filter(([, value]) => value !== null && value !== undefined)));
}

function pairs(values) {
  const entries = Object.entries(values);
  if (!entries.length) return h("p", { class: "quiet" }, "None.");
  return h("dl", { class: "kv" }, entries.map(([name, value]) => [h("dt", {}, user(name, 120)), h("dd", {}, typeof value === "string" && value.length > 400 ? h("pre", { tabindex: 0 }, visible(value)) : user(typeof value === "object" ? JSON.stringify(value) : value))]));
}

function content(span, policy) {
  const entries = Object.entries(span.content);
  const said = h("p", { class: "note" }, `content policy of this experiment: ${visible(policy)}${policy === "hash" ? " (what was written is a hash)" : policy === "drop" ? " (prompts and completions were not written)" : ""}`);
  if (!entries.length) return [h("p", { class: "quiet" }, "This span holds no prompt and no completion."), said];
  return [...entries.map(([key, value]) => h("div", {}, h("h3", {}, user(key)), messages(value))), said];
}

// Messages in the convention's shape are laid out; anything else is shown as it is.
function messages(value) {
  let found = value;
  if (typeof value === "string") { try { found = JSON.parse(value); } catch { return h("pre", { tabindex: 0 }, visible(value)); } }
  if (!Array.isArray(found) || !found.every((one) => one && typeof one === "object")) return h("pre", { tabindex: 0 }, visible(typeof found === "string" ? found : JSON.stringify(found, null, 1)));
  return found.map((one) => h("div", { class: "message" }, h("div", { class: "who" }, user(one.role || one.type || "")), h("pre", {}, visible(text(one)))));
}

function text(one) {
  if (typeof one.content === "string") return one.content;
  const parts = Array.isArray(one.parts) ? one.parts : Array.isArray(one.content) ? one.content : null;
  return parts ? parts.map((part) => (typeof part === "string" ? part : part && typeof part.content === "string" ? part.content : part && typeof part.text === "string" ? part.text : JSON.stringify(part, null, 1))).join("\n") : JSON.stringify(one, null, 1);
}

function events(span) {
  if (!span.events.length) return h("p", { class: "quiet" }, "None.");
  return span.events.map((event) => h("div", {}, h("h3", {}, user(event.name), " ", h("span", { class: "mono" }, visible(event.time_ns))), pairs(event.attributes || {})));
}

function raw(span) {
  const text = JSON.stringify(span, null, 2);
  const button = h("button", { onclick: async () => { try { await navigator.clipboard.writeText(text); button.textContent = "copied"; } catch { button.textContent = "select and copy"; } } }, "copy");
  return [h("p", {}, button), h("pre", { tabindex: 0 }, visible(text.replaceAll("\n", "\u0001")).replaceAll("␁", "\n"))];
}
