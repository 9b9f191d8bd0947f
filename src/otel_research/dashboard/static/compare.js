// A baseline against candidates: verdict, effects, tests, checks, methods.

import { amount, card, cells, files, fill, get, grouped, h, number, problem, table, user, visible } from "./dom.js";
import { drawn, forest } from "./charts.js";

export async function show({ main, top, foot }) {
  document.title = "Comparison · otel-research";
  const asked = new URLSearchParams(location.search);
  const sides = [asked.get("baseline") || "", ...asked.getAll("candidate")];
  fill(top, h("a", { class: "crumb", href: "/" }, "experiments /"), h("h1", {}, "Comparison"));
  const tools = h("div", { class: "tools" }), place = h("div", { class: "grid" });
  fill(main, tools, place);
  choices(tools, sides).catch((error) => fill(tools, problem(error)));
  if (!sides[0] || !sides[1]) return fill(place, h("p", { class: "quiet wide" }, "Choose a baseline and a candidate."));
  fill(place, h("p", { class: "quiet wide" }, "Comparing …"));
  const query = new URLSearchParams([["baseline", sides[0]], ...sides.slice(1).map((side) => ["candidate", side])]);
  foot(files(`/api/compare?${query}`), h("a", { href: `/api/compare?${query}` }, "JSON"), h("a", { href: location.href }, "permalink"));
  try { draw(place, await get(`/api/compare?${query}`)); } catch (error) { fill(place, h("div", { class: "wide" }, problem(error))); }
  return place;
}

const SHOWN = 50; // experiments to choose from

async function choices(tools, sides) {
  const data = await get("/api/experiments");
  const known = new Map(data.experiments.map((one) => [one.id, one]));
  const options = async (side) => {
    const [id] = side.split(":");
    const found = [];
    for (const one of data.experiments.slice(0, SHOWN)) {
      found.push([one.id, one.name]);
      if (one.id === id) for (const name of (await get(`/api/experiments/${id}/conditions`)).conditions) found.push([`${id}:${name}`, `${one.name} : ${name}`]);
    }
    if (side && !found.some(([value]) => value === side)) found.push([side, side]);
    return found;
  };
  const more = data.experiments.length - SHOWN;
  const others = more > 0 ? h("option", { disabled: true }, `… and ${more} more: put an id into the address`) : null;
  const made = async (label, side) => h("label", {}, `${label} `, h("select", { "aria-label": label }, h("option", { value: "" }, "choose …"), (await options(side || sides[0])).map(([value, text]) => h("option", { value, selected: value === side }, visible(text).slice(0, 90))), others));
  const first = await made("baseline", sides[0]), second = await made("candidate", sides[1] || "");
  const go = () => {
    const [a, b] = [first, second].map((label) => label.querySelector("select").value);
    if (a && b) location.assign(`/compare?${new URLSearchParams([["baseline", a], ["candidate", b]])}`);
  };
  const swap = h("button", { onclick: () => location.assign(`/compare?${new URLSearchParams([["baseline", sides[1]], ["candidate", sides[0]]])}`) }, "swap");
  fill(tools, first, second, h("button", { onclick: go }, "compare"), sides[1] && sides.length === 2 ? swap : null, known.has(sides[0].split(":")[0]) ? h("a", { href: `/experiment/${sides[0].split(":")[0]}` }, "to the experiment") : null);
}

const name = (side) => (side.condition === null ? [user(side.name)] : [user(side.condition), h("span", { class: "quiet" }, " of ", user(side.name))]);

function draw(place, data) {
  const all = [data.comparison, ...data.comparison.others];
  place.replaceChildren();
  all.forEach((found, index) => place.append(...one(found, data.sides[0], data.sides[index + 1] || { name: found.candidate, condition: null })));
}

function one(found, base, candidate) {
  const kind = { better: "good", worse: "bad", invalid: "bad" }[found.verdict] || "warn";
  const head = card("Verdict", { wide: true, sub: `${visible(found.headline)} decides, unit ${visible(found.unit)}, corrected by ${visible(found.correction)}, alpha ${found.alpha}` });
  fill(head.body, h("p", { class: "verdict" }, name(candidate), " against ", name(base), ": ", h("span", { class: kind }, found.verdict)),
    found.minimum_detectable_effect === null ? null : h("p", { class: "note" }, `The smallest change of ${visible(found.headline)} that this n finds with 80 % power: ${amount(found.minimum_detectable_effect)} %.`),
    found.tied_with_best.length > 1 ? h("p", { class: "note" }, `Cannot be told from the best: ${found.tied_with_best.map(visible).join(", ")}.`) : null);
  const effects = Object.values(found.effects);
  const plot = h("div", {});
  const picture = card("Effects", { wide: true, sub: "improvement over the baseline, 95 % interval; right of the line is better" });
  fill(picture.body, plot);
  const rows = effects.map((effect) => ({ label: effect.outcome, estimate: effect.improvement_pct, low: effect.improvement_ci ? effect.improvement_ci.low : undefined, high: effect.improvement_ci ? effect.improvement_ci.high : undefined, kind: effect.verdict,
    text: effect.improvement_pct === null ? ownUnit(effect) : `${signed(effect.improvement_pct)} ${effect.estimand === "rate" ? "points" : "%"}${effect.improvement_ci ? ` [${bound(effect.improvement_ci.low, "-∞")}, ${bound(effect.improvement_ci.high, "∞")}]` : ""}` }));
  queueMicrotask(() => drawn(plot, forest(rows, { unit: "% (rates: points)", label: "Effects with their intervals" })));
  const numbers = card("Numbers and tests", { wide: true, sub: "baseline → candidate" });
  fill(numbers.body, table(["outcome", "estimand", "#baseline", "#candidate", "#n", "#p", "#p corrected", "test", "#effect size", "verdict"], effects.map((effect) => h("tr", {}, cells(
    h("td", { class: "name" }, user(effect.outcome), effect.is_primary ? null : h("span", { class: "quiet" }, " (secondary)")), `${visible(effect.estimand)}, ${visible(effect.design)}`,
    number(amount(effect.main.baseline), unit(effect)), number(amount(effect.main.candidate), unit(effect)), number(`${grouped(effect.n[0])} / ${grouped(effect.n[1])}`),
    number(probability(effect.test.p_value)), number(probability(effect.test.p_adjusted)), h("td", { title: visible(effect.test.method) }, visible(effect.test.name)),
    number(size(effect)), h("span", { class: { better: "good", worse: "bad" }[effect.verdict] || "quiet" }, effect.verdict)))), { label: "Numbers and tests" }),
    effects.some((effect) => effect.test.p_value === null) ? h("p", { class: "note" }, withheld(found, effects)) : null);
  const checks = card("Checks of the design");
  fill(checks.body, found.checks.map((check) => h("p", {}, h("span", { class: check.passed ? "good" : check.severity === "error" ? "bad" : "warn" }, check.passed ? "✓ " : "! "), visible(check.text))),
    found.warnings.filter((warning) => !found.checks.some((check) => check.text === warning.text)).map((warning) => h("p", {}, h("span", { class: "warn" }, "! "), visible(warning.text))));
  const methods = card("Methods");
  fill(methods.body, h("p", {}, visible(found.methods)), found.assumptions.length ? h("p", { class: "note" }, `Assumes: ${found.assumptions.map(visible).join("; ")}.`) : null);
  return [head.element, picture.element, numbers.element, checks.element, methods.element];
}

const signed = (value) => `${value > 0 ? "+" : ""}${amount(value)}`;
const bound = (value, open) => (value === null ? open : amount(value));
// Of a baseline that is not above 0 there is no percentage: the difference says how far.
function ownUnit(effect) {
  const { difference, ci } = effect.main;
  if (difference === null) return "not known";
  return `difference ${signed(difference)}${unit(effect)}${ci.difference ? ` [${bound(ci.difference.low, "-∞")}, ${bound(ci.difference.high, "∞")}]` : ""}`;
}
const unit = (effect) => (effect.unit === "1" ? "" : ` ${effect.unit}`);
const probability = (p) => (p === null || p === undefined ? "–" : p < 1e-4 ? "< 0.0001" : amount(Number(p.toPrecision(2))));
function withheld(found, effects) {
  const why = effects.filter((effect) => effect.test.p_value === null).map((effect) => [effect.outcome, found.reasons[`effects.${effect.outcome}.test.p_value`]]);
  const told = why.filter(([, reason]) => reason).map(([outcome, reason]) => `${visible(outcome)}: ${visible(reason)}`);
  return told.length ? `No p-value. ${told.join(" ")}` : "Where there is no p-value, the checks below say why.";
}
function size(effect) {
  const s = effect.effect_size;
  if (s.cohens_d !== null) return `d ${amount(Number(s.cohens_d.toPrecision(3)))}`;
  return s.cohens_h === null || s.cohens_h === undefined ? "–" : `h ${amount(Number(s.cohens_h.toPrecision(3)))}`;
}
