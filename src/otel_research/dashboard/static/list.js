// All experiments of the store.

import { ago, cells, files, fill, get, grouped, h, lasted, number, problem, table, usd, user, when } from "./dom.js";

const REFRESH = 3000;

export async function show({ main, top, foot }) {
  document.title = "Experiments · otel-research";
  const asked = new URLSearchParams(location.search);
  const facts = h("span", { class: "facts" });
  fill(top, h("h1", {}, "Experiments"), facts);
  const text = h("input", { type: "search", placeholder: "name or id", "aria-label": "Search by name or id", value: asked.get("text") || "" });
  const tag = h("input", { type: "search", placeholder: "tag", "aria-label": "Tag", size: 14, value: asked.get("tag") || "" });
  const study = h("input", { type: "search", placeholder: "study", "aria-label": "Study", size: 14, value: asked.get("study") || "" });
  const state = h("select", { "aria-label": "State" }, ["", "running", "stopped", "crashed", "archived"].map((name) => h("option", { value: name, selected: name === (asked.get("state") || "") }, name || "any state")));
  const place = h("div", { class: "card" }, h("p", { class: "quiet" }, "Reading the store …"));
  fill(main, h("div", { class: "tools" }, text, tag, study, state), place);
  const costs = new Map();
  let last = "";

  async function refresh() {
    const query = new URLSearchParams();
    for (const [name, field] of Object.entries({ text, tag, study, state })) if (field.value) query.set(name, field.value);
    history.replaceState(null, "", query.size ? `/?${query}` : "/");
    foot(files(`/api/experiments${query.size ? `?${query}` : ""}`), h("a", { href: `${location.pathname}${location.search}` }, "permalink"));
    try {
      const data = await get(`/api/experiments?${query}`);
      const text = JSON.stringify(data);
      if (text === last && !data.experiments.some((one) => one.state === "running")) return;
      last = text;
      const focused = document.activeElement && document.activeElement.getAttribute("href");
      draw(data);
      if (focused) { const again = [...place.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused); if (again) again.focus(); }
    } catch (error) { fill(place, problem(error)); }
  }

  function draw(data) {
    const running = data.experiments.filter((one) => one.state === "running").length;
    fill(facts, document.createTextNode(`${grouped(data.experiments.length)} shown · ${running} running · `), user(data.store));
    if (!data.experiments.length) { fill(place, h("p", { class: "quiet" }, query() ? "No experiment matches." : "No experiments here yet. Start one: otel-research demo")); return; }
    const rows = data.experiments.map((one) => h("tr", { class: "row", "data-id": one.id, "data-state": one.state },
      cells(h("td", { class: "name" }, h("a", { class: "main", href: `/experiment/${one.id}` }, user(one.name)), h("span", { class: "x mono" }, one.id.slice(0, 12))),
        h("span", { class: `badge ${one.state}` }, one.state),
        number(one.stored === null ? h("span", { class: "quiet", title: "a long journal: open the experiment to count it" }, "many") : grouped(one.stored)),
        number(h("span", { class: one.lost ? "bad" : null }, grouped(one.lost))),
        number(costOf(one)),
        h("span", { class: "whole" }, when(one.started_ns / 1e6)),
        number(lasted(((one.stopped_ns || one.last_ns || Date.now() * 1e6) - one.started_ns) / 1e6)),
        one.last_ns === null ? h("span", { class: "quiet", title: "it is written elsewhere, and nothing has come since this server looks" }, "–") : h("span", { class: "whole", title: when(one.last_ns / 1e6) }, ago(one.last_ns / 1e6)),
        h("td", {}, one.study && h("a", { href: `/study/${encodeURIComponent(one.study)}` }, user(one.study)), one.study && " ", one.tags.map((name) => [user(name), " "])))));
    fill(place, table(["name", "state", "#captured", "#lost", "#cost (USD)", "started (UTC)", "#ran", "last activity", "study, tags"], rows, { label: "Experiments" }));
    next();
  }
  const query = () => text.value || tag.value || study.value || state.value;

  function costOf(one) {
    const found = costs.get(one.id);
    const place = h("span", { class: "cost" });
    if (found) showCost(place, found); else fill(place, h("span", { class: "quiet" }, "…"));
    return place;
  }
  function showCost(place, found) {
    if (found.error) return fill(place, h("span", { class: "quiet", title: found.error }, "–"));
    return fill(place, document.createTextNode(usd(found.total_usd)), found.unpriced ? h("span", { class: "unpriced" }, ` + ${grouped(found.unpriced)} unpriced`) : null);
  }
  // What runs costs more by and by; what takes long to compute is asked for less often.
  const isDue = (known, state) => !known || known.state !== state || (state === "running" && Date.now() - known.at > Math.max(5000, 10 * known.took));
  // One at a time, only for lines that are in sight, so that a long list asks for little.
  let isAsking = false;
  async function next() {
    if (isAsking) return;
    isAsking = true;
    for (const row of place.querySelectorAll("tr.row")) {
      const id = row.dataset.id, box = row.getBoundingClientRect();
      if (!isDue(costs.get(id), row.dataset.state) || box.top > innerHeight || box.bottom < 0) continue;
      const began = Date.now();
      const found = await get(`/api/experiments/${id}/cost`).catch((error) => ({ error: error.message }));
      costs.set(id, { ...found, state: row.dataset.state, at: Date.now(), took: Date.now() - began });
      const now = place.querySelector(`tr[data-id="${id}"] .cost`);
      if (now) showCost(now, costs.get(id));
    }
    isAsking = false;
  }
  for (const field of [text, tag, study, state]) field.addEventListener("input", refresh);
  addEventListener("scroll", next, { passive: true });
  await refresh();
  setInterval(() => { if (!document.hidden) refresh(); }, REFRESH);
}
