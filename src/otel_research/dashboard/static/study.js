// The experiments of a study as one claim.

import { amount, card, cells, files, fill, get, grouped, h, number, problem, table, user, visible, when } from "./dom.js";
import { drawn, forest } from "./charts.js";

export async function show({ main, top, foot, parts: [study] }) {
  document.title = `${visible(study)} · otel-research`;
  fill(top, h("a", { class: "crumb", href: "/" }, "experiments /"), h("h1", {}, user(study)), h("span", { class: "facts" }, "study"));
  fill(main, h("p", { class: "quiet" }, "Reading the experiments …"));
  const api = `/api/study/${encodeURIComponent(study)}`;
  foot(files(api), h("a", { href: api }, "JSON"), h("a", { href: location.pathname }, "permalink"));
  const data = await get(api).catch((error) => { fill(main, problem(error)); return null; });
  if (!data) return;
  const grid = h("div", { class: "grid" });
  fill(main, grid);
  if (data.problem) {
    const why = card("No pooled effect", { wide: true });
    fill(why.body, h("p", {}, visible(data.problem)));
    grid.append(why.element);
  } else pooled(grid, data.study);
  const list = card("Experiments", { wide: true });
  fill(list.body, table(["name", "state", "started (UTC)", "#captured", "conditions"], data.experiments.map((one) => h("tr", { class: "row" }, cells(h("td", { class: "name" }, h("a", { class: "main", href: `/experiment/${one.id}` }, user(one.name))), one.state, when(one.started_ns / 1e6), number(grouped(one.stored)), one.conditions.map((name) => [user(name), " "])))), { label: "Experiments" }));
  grid.append(list.element);
}

function pooled(grid, found) {
  for (const [name, outcome] of Object.entries(found.outcomes)) {
    const unit = outcome.scale === "percent" ? "% of the baseline" : "difference";
    const place = h("div", {});
    const picture = card(visible(name), { wide: true, sub: `${visible(found.candidate)} against ${visible(found.baseline)}: change in ${unit}, random effects, I² ${amount(Number(outcome.i2.toPrecision(3)))} %` });
    const rows = outcome.forest.map((row) => line(row.experiment, row.effect, row.ci, { weight: row.weight }));
    rows.push(line("pooled", outcome.effect, outcome.ci, { isPooled: true, kind: "" }));
    if (outcome.prediction) rows.push({ label: "a new experiment", estimate: null, low: outcome.prediction.low, high: outcome.prediction.high, text: `[${amount(outcome.prediction.low)}, ${amount(outcome.prediction.high)}]` });
    fill(picture.body, place, h("p", { class: "note" }, `p ${outcome.p_adjusted < 1e-4 ? "< 0.0001" : amount(Number(outcome.p_adjusted.toPrecision(2)))} (corrected by ${visible(found.correction)}); ${visible(outcome.ci.method)}; heterogeneity Q p ${amount(Number(outcome.q_p.toPrecision(2)))}.`));
    grid.append(picture.element);
    drawn(place, forest(rows, { unit, label: `Effects on ${name}` }));
  }
  if (found.warnings.length) {
    const notes = card("To be wary of", { wide: true });
    fill(notes.body, found.warnings.map((warning) => h("p", {}, h("span", { class: "warn" }, "! "), visible(warning.text))));
    grid.append(notes.element);
  }
}

const line = (label, estimate, ci, more) => ({ label, estimate, low: ci.low, high: ci.high, text: `${amount(estimate)} [${amount(ci.low)}, ${amount(ci.high)}]`, ...more });
