// One experiment: filled section by section as the server computes them, then kept up by events.

import { amount, card, cells, clock, files, fill, get, grouped, h, interval, number, percent, problem, reason, table, usd, user, visible, when } from "./dom.js";
import { distribution, drawn, kind, legend, overTime } from "./charts.js";

const TAIL = 60;

export async function show({ main, top, foot, parts: [id] }) {
  const asked = new URLSearchParams(location.search);
  const known = { baseline: asked.get("baseline"), isLog: asked.get("scale") === "log", colours: new Map() };
  const live = h("span", { class: "badge" }, "connecting");
  const title = h("h1", {}, id.slice(0, 12)), facts = h("span", { class: "facts" }), state = h("span", {});
  fill(top, h("a", { class: "crumb", href: "/" }, "experiments /"), title, state, facts, live);
  const places = {
    problem: h("div", { class: "wide" }),
    metrics: card("Conditions", { wide: true, id: "conditions" }),
    rolling: card("Right now", { wide: true, id: "now" }),
    time: card("Latency over time", { id: "time" }),
    ecdf: card("Latency distribution", { id: "ecdf", sub: "share of units at or below" }),
    models: card("Cost and tokens by model", { id: "models" }),
    errors: card("Failures", { id: "errors" }),
    tail: card("Latest spans", { wide: true, id: "tail" }),
    notes: card("Alerts and annotations", { id: "notes" }),
    quality: card("Data quality", { id: "quality" }),
    ledger: card("Ledger", { id: "ledger", sub: "what became of every span" }),
    environment: card("Environment", { id: "environment" }),
  };
  for (const [name, place] of Object.entries(places)) if (place.body && name !== "rolling") fill(place.body, h("p", { class: "quiet" }, "computing …"));
  places.rolling.element.hidden = true;
  fill(main, h("div", { class: "grid" }, Object.values(places).map((place) => place.element || place)));
  const api = `/api/experiments/${id}`;
  foot(h("a", { href: `${api}/spans.csv`, download: true }, "CSV"), h("a", { href: `${api}/spans.parquet`, download: true }, "Parquet"),
    h("a", { href: `${api}/spans.jsonl`, download: true }, "JSON Lines"), files(`${api}/metrics`, "metrics as "), h("a", { href: `${api}/metrics` }, "metrics as JSON"), h("a", { href: location.pathname }, "permalink"));

  const colour = (condition) => {
    const key = condition ?? "";
    if (!known.colours.has(key)) known.colours.set(key, kind(known.colours.size));
    return known.colours.get(key);
  };
  const chip = (condition) => [h("i", { class: `dot ${colour(condition)}`, "aria-hidden": "true" }), condition === null ? h("span", { class: "quiet" }, "no condition") : user(condition, 60)];

  const draw = {
    head(data) {
      const one = data.experiment;
      data.conditions.forEach(colour);
      document.title = `${visible(one.name)} · otel-research`;
      fill(title, user(one.name));
      const lost = Object.values(data.ledger.lost).reduce((sum, n) => sum + n, 0);
      fill(state, h("span", { class: `badge ${one.ended_by === "crash" ? "crashed" : one.state}` }, one.ended_by === "crash" ? "crashed" : one.state));
      fill(facts, h("span", { class: "mono" }, one.id.slice(0, 12)), ` · started ${when(one.started_ns / 1e6)} UTC · `, h("strong", {}, grouped(data.ledger.stored)), " spans captured · ",
        h("strong", { class: lost ? "lost" : null }, `${grouped(lost)} lost`), data.ledger.interrupted ? ` · ${grouped(data.ledger.interrupted)} interrupted` : "", data.ledger.open ? ` · ${grouped(data.ledger.open)} open` : "",
        one.hypothesis ? [h("br", {}), "hypothesis: ", user(one.hypothesis)] : null);
      ledger(data.ledger);
      known.state = one.state;
      showLive();
    },
    metrics(data) {
      if (data.problem) { fill(places.metrics.body, problem(data.problem)); return; }
      known.metrics = data;
      conditions();
    },
    intervals(data) { if (data.conditions) { known.metrics = data; conditions(); } },
    curves(data) { known.curves = data; pictures(); },
    models,
    tail(data) { known.tail = data; tail(); },
    notes(data) { known.notes = data; notes(); pictures(); },
    quality,
    environment,
  };

  function conditions() {
    const data = known.metrics, groups = data.conditions;
    groups.forEach((group) => colour(group.condition));
    const names = groups.map((group) => group.condition);
    if (!names.includes(known.baseline)) known.baseline = names.find((name) => /^(baseline|control)$/i.test(name ?? "")) ?? names[0] ?? null;
    const base = groups.find((group) => group.condition === known.baseline);
    const rows = (groups.length > 1 ? [...groups, { condition: undefined, metrics: data.all }] : groups).map((group) => {
      const m = group.metrics, isAll = group.condition === undefined, b = isAll || group === base ? null : base && base.metrics;
      return h("tr", {}, cells(h("td", { class: "name" }, isAll ? h("strong", {}, "all") : chip(group.condition), group === base && groups.length > 1 ? h("span", { class: "quiet" }, " (baseline)") : null),
        number(grouped(m.n), data.sample_size && !isAll ? h("span", { class: "ci" }, `of ${grouped(data.sample_size)}`) : null),
        ...["p50", "p95", "p99"].map((name) => quantile(m, name, b)),
        number(m.reliability ? percent(m.reliability.success_rate) : "–", m.reliability && interval(m.reliability.ci.success_rate, 100)),
        number(m.reliability ? grouped(m.reliability.failures) : "–"),
        number(m.cost ? usd(m.cost.total_usd) : "–", m.cost && m.cost.unpriced ? h("span", { class: "unpriced" }, ` + ${grouped(m.cost.unpriced)} unpriced`) : null),
        number(m.cost ? usd(m.cost.per_request_mean) : "–", m.cost && interval(m.cost.ci.per_request_mean, 1, usd)),
        ...scores(data).map((name) => number(score(m, name)))));
    });
    const pick = h("select", { "aria-label": "Baseline", onchange: (event) => { known.baseline = names[event.target.selectedIndex]; address(); conditions(); } },
      names.map((name) => h("option", { selected: name === known.baseline }, visible(name ?? "no condition"))));
    const others = names.filter((name) => name !== known.baseline && name !== null);
    const link = others.length && known.baseline !== null
      ? h("a", { href: `/compare?baseline=${encodeURIComponent(`${id}:${known.baseline}`)}${others.map((name) => `&candidate=${encodeURIComponent(`${id}:${name}`)}`).join("")}` }, "compare") : null;
    fill(places.metrics.heading, "Conditions", h("span", { class: "sub" }, `per ${data.unit}, times in ms, ${data.has_intervals ? "95 % intervals" : "intervals are being computed …"}`),
      h("span", { class: "right noprint" }, names.length > 1 ? ["baseline ", pick, " "] : null, link));
    const warnings = [...new Set(data.all.warnings.map((warning) => warning.text))];
    fill(places.metrics.body, table(["condition", `#n (${data.unit}s)`, "#p50", "#p95", "#p99", "#success rate", "#failed", "#cost (USD)", `#USD per ${data.unit}`, ...scores(data).map((name) => `#${visible(name)}`)], rows, { label: "Conditions" }),
      data.all.n || warnings.length ? null : h("p", { class: "note" }, reason(Object.values(data.all.reasons)[0] || "no units yet")),
      warnings.map((text) => h("p", { class: "note" }, visible(text))),
      everyScore(data).length > scores(data).length ? h("p", { class: "note" }, `${everyScore(data).length - scores(data).length} more scores are in the numbers at the foot of the page: ${everyScore(data).slice(scores(data).length).map(visible).join(", ")}.`) : null,
      rows.length && data.conditions.some((group) => Object.values(group.metrics.latency ? group.metrics.latency.reliable : {}).includes(false)) ? h("p", { class: "note" }, "~ rough: the percentile has fewer values than it needs; hover for how many.") : null);
    failures(data.all);
  }
  const everyScore = (data) => Object.keys(data.all.custom || {}).filter((name) => data.all.custom[name] && data.all.custom[name].mean !== undefined);
  const scores = (data) => everyScore(data).slice(0, 4);
  function score(m, name) {
    const found = (m.custom || {})[name];
    return found ? [amount(found.mean), interval((m.custom_ci || {})[name])] : "–";
  }
  function quantile(m, name, base) {
    if (!m.latency) return number("–");
    const value = m.latency[name], isRough = m.latency.reliable[name] === false;
    const why = value === null ? m.reasons[`latency.${name}`] : isRough ? `${name} needs ${grouped(m.latency.n_required[name])} values, there are ${grouped(m.latency.count)}` : null;
    const other = base && base.latency ? base.latency[name] : null;
    return h("td", { class: "n", title: why ? visible(why) : null, "data-value": value }, h("span", { class: isRough && value !== null ? "rough" : null }, amount(value)), interval(m.latency.ci[name]),
      other && value !== null ? h("span", { class: "x" }, `× ${amount(value / other)}`) : null);
  }
  function failures(m) {
    const r = m.reliability;
    if (!r) return fill(places.errors.body, h("p", { class: "quiet" }, "switched off by metrics="));
    const rows = Object.entries(r.error_types).sort((a, b) => b[1] - a[1]).map(([name, n]) => h("tr", {}, cells(h("td", { class: "name" }, user(name)), number(grouped(n)), number(percent(n / m.n)))));
    return fill(places.errors.body, rows.length ? table(["error", "#n", "#share"], rows, { label: "Failures by type" }) : h("p", { class: "quiet" }, m.n ? `None of ${grouped(m.n)} ${known.metrics.unit}s failed.` : reason(Object.values(m.reasons)[0] || "no_spans")),
      h("p", { class: "note" }, `${grouped(r.interrupted)} interrupted: their outcome is unknown, no rate includes them.`));
  }

  function pictures() {
    const data = known.curves;
    if (!data) return;
    if (data.reason || data.problem) { for (const name of ["time", "ecdf"]) fill(places[name].body, h("p", { class: "quiet" }, reason(data.problem || data.reason))); return; }
    data.ecdf.forEach((part) => colour(part.condition));
    const scale = h("label", { class: "noprint" }, h("input", { type: "checkbox", checked: known.isLog, onchange: (event) => { known.isLog = event.target.checked; address(); pictures(); } }), " log");
    const alerts = (known.notes && known.notes.alerts) || [];
    fill(places.time.heading, "Latency over time", h("span", { class: "sub" }, `ms, UTC${data.series.window_s ? `, windows of ${data.series.window_s} s` : ""}`), h("span", { class: "right" }, scale));
    const chips = data.ecdf.map((part) => [h("i", { class: `dot ${colour(part.condition)}` }), part.condition === null ? "no condition" : user(part.condition, 40)]);
    const lines = ["p50", "p95", "p99"].map((name) => [h("i", { class: `l ${name}` }), name]);
    const time = h("div", {}), ecdf = h("div", {});
    fill(places.time.body, legend([...chips, ...lines]), time,
      h("p", { class: "note" }, data.points.shown < data.points.of ? `${grouped(data.points.shown)} of ${grouped(data.points.of)} ${data.unit}s are drawn as dots, the slowest among them; the lines are of all.` : `All ${grouped(data.points.of)} ${data.unit}s.`,
        data.series.reason ? ` ${visible(data.series.reason)}` : " A window with too few values has no p95 or p99."));
    fill(places.ecdf.body, legend(data.ecdf.map((part, index) => [chips[index][0].cloneNode(), part.condition === null ? "no condition" : user(part.condition, 40), ` n = ${grouped(part.n)}`])), ecdf,
      data.ecdf.some((part) => part.shown < part.n) ? h("p", { class: "note" }, `Each curve goes through ${grouped(Math.max(...data.ecdf.map((part) => part.shown)))} of its values, evenly spaced in rank.`) : null);
    drawn(time, overTime(data, { alerts, colour, isLog: known.isLog }));
    drawn(ecdf, distribution(data.ecdf, { colour, isLog: known.isLog }));
  }

  function models(data) {
    if (!data.models) return fill(places.models.body, problem(data.problem));
    const rows = data.models.map(({ model, metrics: m }) => h("tr", {}, cells(h("td", { class: "name" }, user(model)), number(grouped(m.n)), number(grouped(m.tokens && m.tokens.total_input)), number(grouped(m.tokens && m.tokens.total_output)),
      number(usd(m.cost && m.cost.total_usd), m.cost && m.cost.unpriced ? h("span", { class: "unpriced" }, ` + ${grouped(m.cost.unpriced)} unpriced`) : null))));
    const without = data.unpriced.map((row) => h("p", { class: "note" }, `unpriced: ${grouped(row.calls)} calls of `, user(row.model), ` (${visible(row.reason)})`));
    return fill(places.models.body, rows.length ? table(["model", "#calls", "#input tokens", "#output tokens", "#cost (USD)"], rows, { label: "Models" }) : h("p", { class: "quiet" }, "No calls to models yet."), without, h("p", { class: "note" }, `prices: ${visible(data.prices)}`));
  }

  function tail() {
    const rows = known.tail.spans.slice(0, 15).map((span) => h("tr", { class: `row${span.fresh ? " fresh" : ""}` }, cells(
      h("span", { class: "mono", title: when(span.end_ms) }, clock(span.end_ms ?? span.start_ms)),
      h("td", { class: "name" }, h("a", { class: "main", href: `/experiment/${id}/trace/${span.trace_id}#${span.span_id}` }, user(span.name, 120))),
      h("td", { class: "hide-small" }, span.condition === null ? "" : chip(span.condition)),
      h("span", { class: span.status === "error" ? "bad" : span.status === "interrupted" ? "warn" : "quiet" }, user(span.error_type || span.status, 60)),
      number(amount(span.duration_ms)), h("td", { class: "hide-small" }, span.request_model ? user(span.request_model, 60) : ""),
      h("td", { class: "n hide-small" }, span.input_tokens === null && span.output_tokens === null ? "" : `${grouped(span.input_tokens)} / ${grouped(span.output_tokens)}`),
      number(span.cost_usd === null ? "" : usd(span.cost_usd)))));
    fill(places.tail.heading, "Latest spans", h("span", { class: "sub" }, `the last ${grouped(rows.length)} to end, of ${grouped(known.tail.total)}`));
    fill(places.tail.body, rows.length ? tailTable(rows) : h("p", { class: "quiet" }, reason("no_spans")));
  }
  function tailTable(rows) {
    const made = table(["ended (UTC)", "span", "condition", "status", "#ms", "model", "#tokens in / out", "#USD"], rows, { label: "Latest spans" });
    [...made.querySelectorAll("th")].forEach((th, index) => { if ([2, 5, 6].includes(index)) th.classList.add("hide-small"); });
    return made;
  }

  function notes() {
    const { alerts, others } = known.notes;
    const rows = alerts.slice(-20).reverse().map((alert) => h("tr", {}, cells(h("span", { class: "mono" }, when(alert.time_ns / 1e6)), h("span", { class: alert.state === "resolved" ? "good" : "bad" }, alert.state), h("td", { class: "name" }, user(alert.text)))));
    const said = others.slice(-20).reverse().map((note) => h("tr", {}, cells(h("span", { class: "mono" }, when(note.time_ns / 1e6)), user(note.kind), h("td", { class: "name" }, user(note.reason || note.text || JSON.stringify(note), 300)))));
    fill(places.notes.body, rows.length || said.length ? table(["when (UTC)", "what", ""], [...rows, ...said], { label: "Alerts and annotations" }) : h("p", { class: "quiet" }, "No alerts, nothing annotated."),
      alerts.length > 20 || others.length > 20 ? h("p", { class: "note" }, `The last 20 of ${grouped(alerts.length)} alerts and of ${grouped(others.length)} annotations.`) : null);
  }

  function quality(data) {
    if (data.problem) return fill(places.quality.body, problem(data.problem));
    const marks = { error: ["✗", "bad"], warning: ["!", "warn"], info: ["·", "quiet"] };
    fill(places.quality.heading, "Data quality", h("span", { class: "sub" }, data.total_events ? `score ${amount(data.data_quality_score)} of 100 over ${grouped(data.total_events)} spans` : "no spans to judge"));
    return fill(places.quality.body, data.findings.length ? data.findings.map((finding) => h("p", { class: marks[finding.severity][1] === "quiet" ? "quiet" : "" }, h("span", { class: marks[finding.severity][1] }, `${marks[finding.severity][0]} `), visible(finding.text))) : h("p", { class: "quiet" }, "None of the checks found anything."));
  }

  function ledger(data) {
    const line = (name, value, kind) => h("tr", {}, cells(name, number(h("span", { class: kind }, grouped(value)))));
    const lost = Object.entries(data.lost);
    fill(places.ledger.body, table(["", "#spans"], [["started", data.started], ["ended", data.ended], ["open", data.open], ["interrupted", data.interrupted], ["received", data.received], ["stored", data.stored], ["filtered", data.filtered], ["sampled out", data.sampled_out], ["duplicates", data.duplicates], ["late", data.late]]
      .filter(([name, value]) => value || ["started", "ended", "stored"].includes(name)).map(([name, value]) => line(name, value)).concat(lost.length ? lost.map(([reason, value]) => line(`lost: ${visible(reason)}`, value, "bad")) : [line("lost", 0, "good")]), { label: "Ledger" }));
  }

  function environment(data) {
    const shown = Object.entries(data).filter(([, value]) => value !== null && value !== "");
    const simple = shown.filter(([, value]) => typeof value !== "object"), deep = Object.fromEntries(shown.filter(([, value]) => typeof value === "object"));
    if (!shown.length) return fill(places.environment.body, h("p", { class: "quiet" }, "Nothing was recorded of where it ran."));
    return fill(places.environment.body, h("dl", { class: "kv" }, simple.map(([name, value]) => [h("dt", {}, visible(name.replace(/_bytes$/, "").replaceAll("_", " "))), h("dd", {}, name.endsWith("_bytes") ? `${amount(value / 2 ** 30)} GiB` : user(value))])),
      Object.keys(deep).length ? h("details", {}, h("summary", {}, "packages, git, hardware …"), h("pre", { tabindex: 0 }, visible(JSON.stringify(deep, null, 1)))) : null);
  }

  function rolling(data) {
    if (known.tail) known.tail.total = Math.max(known.tail.total, data.total_spans);
    places.rolling.element.hidden = false;
    fill(places.rolling.heading, "Right now", h("span", { class: "sub" }, `the last ${grouped(data.window)} calls at most, and totals so far`));
    const box = (value, what, kind) => h("div", {}, h("b", { class: kind }, value), h("span", {}, what));
    fill(places.rolling.body, h("div", { class: "strip" }, box(grouped(data.recent_count), "recent calls"), box(data.average_latency_ms === null ? "–" : `${amount(data.average_latency_ms)} ms`, "average latency"),
      box(percent(data.error_rate), "error rate", data.error_rate > 0 ? "bad" : null), box(grouped(data.total_calls), "calls in all"), box(usd(data.total_cost_usd), `USD in all${data.unpriced ? ` + ${grouped(data.unpriced)} unpriced` : ""}`), box(grouped(data.total_spans), "spans in all"), box(data.spans_per_second === null ? "–" : amount(data.spans_per_second), "spans per second")));
  }

  function address() {
    const query = new URLSearchParams();
    if (known.baseline) query.set("baseline", known.baseline);
    if (known.isLog) query.set("scale", "log");
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  }

  function showLive() {
    const [kind, text] = known.isAway ? ["away", "reconnecting …"] : known.state === "running" ? ["live", "live"] : ["", "complete"];
    live.className = `badge ${kind}`;
    live.textContent = text;
  }

  function connect() {
    const source = new EventSource(`/events?experiment=${id}`);
    source.addEventListener("open", () => { known.isAway = false; showLive(); });
    source.addEventListener("error", () => {
      known.isAway = true;
      showLive();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    });
    const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    for (const [name, act] of Object.entries(draw)) on(`section:${name}`, (data) => {
      try { act(data); } catch (error) { fill(places.problem, problem(error)); throw error; }
    });
    on("metrics_update", rolling);
    on("span", (span) => { if (known.tail) { known.tail.spans = [{ ...span, fresh: true }, ...known.tail.spans.filter((one) => one.span_id !== span.span_id)].slice(0, TAIL); known.isStale = true; } });
    on("alert", (alert) => { if (known.notes) { known.notes.alerts.push(alert); notes(); pictures(); } });
    on("state", (data) => { known.state = data.state; showLive(); });
    on("problem", (data) => fill(places.problem, data.text ? problem(data.text) : null));
  }
  setInterval(() => { if (known.isStale && !document.hidden) { known.isStale = false; tail(); } }, 500);
  get(`/api/experiments?text=${id}`).then((data) => {
    const one = data.experiments[0];
    if (!one) {
      foot();
      live.remove();
      return fill(main, problem("There is no such experiment in this store."), h("p", {}, h("a", { href: "/" }, "All experiments")));
    }
    if (!known.state) { fill(title, user(one.name)); fill(state, h("span", { class: `badge ${one.state}` }, one.state)); if (one.stored !== null) fill(facts, h("span", { class: "mono" }, id.slice(0, 12)), ` · started ${when(one.started_ns / 1e6)} UTC · `, h("strong", {}, grouped(one.stored)), " spans captured · ", h("strong", { class: one.lost ? "lost" : null }, `${grouped(one.lost)} lost`)); }
    return connect();
  }).catch((error) => fill(places.problem, problem(error)));
}
