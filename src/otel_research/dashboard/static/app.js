// Which page the address asks for, and what every page has: theme, keys, foot.

import { fill, h, problem } from "./dom.js";

const PAGES = [
  [/^\/$/, "./list.js"],
  [/^\/experiment\/([0-9a-f]{8,64})$/, "./experiment.js"],
  [/^\/experiment\/([0-9a-f]{8,64})\/trace\/([0-9a-f]{32})$/, "./trace.js"],
  [/^\/compare$/, "./compare.js"],
  [/^\/study\/([^/]+)$/, "./study.js"],
];
const KEYS = [["/", "search or filter"], ["h", "all experiments"], ["t", "light or dark"], ["j k", "next or previous line"], ["Enter", "open it"], ["?", "this list"]];
const main = document.getElementById("main"), top = document.getElementById("top"), bottom = document.getElementById("bottom");

function theme(next) {
  if (next) { try { localStorage.setItem("theme", next); } catch { /* a private window keeps none */ } }
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* the system's choice then */ }
  if (kept) document.documentElement.dataset.theme = kept;
}

function toggled() {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
  theme(isDark ? "light" : "dark");
}

const help = h("dialog", { "aria-label": "Keys" }, h("table", {}, h("tbody", {}, KEYS.map(([key, what]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, what))))),
  h("p", {}, h("button", { onclick: () => help.close() }, "Close")));

function moved(by) {
  const rows = [...main.querySelectorAll("tr.row a.main")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(Math.max(at + by, 0), rows.length - 1)].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const search = main.querySelector("input[type=search]");
  if (event.key === "/" && search) { search.focus(); event.preventDefault(); }
  else if (event.key === "h") location.assign("/");
  else if (event.key === "t") toggled();
  else if (event.key === "j") moved(1);
  else if (event.key === "k") moved(-1);
  else if (event.key === "?") help.open ? help.close() : help.showModal();
});

export const foot = (...links) => fill(bottom, h("span", { class: "noprint" }, ...links,
  h("button", { class: "plain", onclick: toggled }, "light / dark"), " ", h("button", { class: "plain", onclick: () => help.showModal() }, "keys (?)")));

theme();
document.body.append(help);
foot();
const found = PAGES.map(([pattern, module]) => [location.pathname.match(pattern), module]).find(([match]) => match);
if (!found) {
  fill(top, h("h1", {}, "otel-research"));
  fill(main, h("p", {}, "There is no such page. ", h("a", { href: "/" }, "All experiments")));
} else {
  import(found[1]).then((page) => page.show({ main, top, foot, parts: found[0].slice(1).map(decodeURIComponent) }))
    .catch((error) => fill(main, problem(error)));
}
