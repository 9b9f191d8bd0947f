// Hand-written SVG: the time axis is the run's own extent, gaps stay gaps, nothing is smoothed.

import { amount, cut, h, s, visible, when } from "./dom.js";

const HEIGHT = 250;

// Six colours that every eye tells apart; then the same ones hollow and dashed. A thirteenth condition looks like the first.
export const kind = (place) => `k${place % 6}${place % 12 > 5 ? " more" : ""}`;

// Draws again when the place changes its width; `draw(width)` gives the SVG.
export function drawn(place, draw) {
  let width = 0;
  const again = () => {
    const now = Math.floor(place.clientWidth);
    if (now < 40 || now === width) return;
    width = now;
    place.replaceChildren(draw(width));
  };
  if (place.observer) place.observer.disconnect();
  place.observer = new ResizeObserver(again);
  place.observer.observe(place);
  width = 0;
  again();
}

export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= raw);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let k = first; k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

function timeTicks(low, high, count) {
  const step = 1000 * (TIMES.find((seconds) => (high - low) / 1000 / seconds <= count) || 2592000);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high; t += step) found.push(t);
  return { found, step };
}

function timeLabel(ms, step) {
  const text = new Date(ms).toISOString();
  return step >= 86400000 ? text.slice(5, 10) : step >= 60000 ? text.slice(11, 16) : text.slice(11, 19);
}

function frame(width, height, left, label) {
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const m of [1, 2, 5]) if (m * 10 ** power >= low && m * 10 ** power <= high) found.push(m * 10 ** power);
  return found.length > 1 ? found : [low, high];
}

function scaled(low, high, from, to, isLog) {
  if (isLog) {
    const [a, b] = [Math.log(low), Math.log(high)];
    return (value) => from + ((Math.log(Math.max(value, low)) - a) / (b - a || 1)) * (to - from);
  }
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

export function overTime(data, { alerts = [], colour, isLog = false }) {
  return (width) => {
    const left = 52, bottom = 22, top = 14;
    const svg = frame(width, HEIGHT, left, "Latency over time, milliseconds");
    const rows = data.points.rows, windows = (data.series && data.series.rows) || [];
    const half = ((data.series && data.series.window_s) || 0) * 500;
    const times = rows.map((row) => row[0]).concat(windows.filter((row) => row[1]).map((row) => row[0] + half));
    const extent = [Math.min(...times), Math.max(...times)];
    if (extent[0] === extent[1]) extent[1] += 1000;
    const values = rows.map((row) => row[1]).concat(windows.flatMap((row) => [row[2], row[3], row[4]].filter((v) => v !== null)));
    const highest = Math.max(...values), lowest = isLog ? Math.max(Math.min(...values), 1e-6) : 0;
    const x = scaled(extent[0], extent[1], left, width - 8, false);
    const y = scaled(lowest, highest * (isLog ? 1.15 : 1.05) || 1, HEIGHT - bottom, top, isLog);
    for (const tick of isLog ? logTicks(lowest, highest * 1.15) : ticks(0, highest * 1.05, 5))
      svg.append(s("line", { class: "axis", x1: left, x2: width - 8, y1: y(tick), y2: y(tick) }),
        s("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, amount(tick)));
    const { found, step } = timeTicks(extent[0], extent[1], Math.max(2, Math.floor(width / 90)));
    for (const tick of found)
      svg.append(s("line", { class: "axis", x1: x(tick), x2: x(tick), y1: top, y2: HEIGHT - bottom }),
        s("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, timeLabel(tick, step)));
    svg.append(s("text", { x: left - 6, y: 10, "text-anchor": "end" }, "ms"));
    const dots = s("g", { opacity: rows.length > 400 ? 0.55 : 0.8 });
    for (const [t, ms, isFailed, condition] of rows)
      dots.append(s("circle", { cx: x(t).toFixed(1), cy: y(ms).toFixed(1), r: isFailed ? 2.6 : 1.9, class: `${colour(condition)}${isFailed ? " failed" : ""}` }));
    svg.append(dots);
    [["p50", 2], ["p95", 3], ["p99", 4]].forEach(([name, index]) => svg.append(...lines(windows, index, half, x, y, name)));
    for (const alert of alerts) svg.append(alertMark(alert, x, extent, top, HEIGHT - bottom));
    return svg;
  };
}

// A window without a value ends the line: what lies between is not known.
function lines(windows, index, half, x, y, name) {
  const parts = [];
  let part = [];
  for (const row of [...windows, null]) {
    if (row && row[index] !== null) part.push(`${x(row[0] + half).toFixed(1)},${y(row[index]).toFixed(1)}`);
    else if (part.length) { parts.push(part); part = []; }
  }
  return parts.map((points) => points.length > 1
    ? s("polyline", { class: `win ${name}`, points: points.join(" ") })
    : s("line", { class: `win ${name}`, x1: Number(points[0].split(",")[0]) - 4, x2: Number(points[0].split(",")[0]) + 4, y1: points[0].split(",")[1], y2: points[0].split(",")[1] }));
}

function alertMark(alert, x, extent, top, bottom) {
  const t = Math.min(Math.max(alert.time_ns / 1e6, extent[0]), extent[1]);
  const kind = alert.state === "resolved" ? "cleared" : "alert";
  return s("g", {}, s("title", {}, visible(`${when(alert.time_ns / 1e6)} ${alert.text}`)),
    s("line", { class: kind, x1: x(t), x2: x(t), y1: top, y2: bottom }),
    s("path", { class: `${kind}mark`, d: `M${x(t) - 5},${top - 8}h10l-5,8z` }));
}

export function distribution(parts, { colour, isLog = false }) {
  return (width) => {
    const left = 40, bottom = 34, top = 8;
    const svg = frame(width, HEIGHT, left, "Share of units at or below a latency, by condition");
    const all = parts.flatMap((part) => part.points.map((point) => point[0]));
    const low = isLog ? Math.max(Math.min(...all), 1e-6) : 0, high = Math.max(...all) || 1;
    const x = scaled(low, high, left, width - 12, isLog), y = scaled(0, 1, HEIGHT - bottom, top, false);
    for (const tick of [0, 0.25, 0.5, 0.75, 1])
      svg.append(s("line", { class: "axis", x1: left, x2: width - 12, y1: y(tick), y2: y(tick) }),
        s("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
    for (const tick of isLog ? logTicks(low, high) : ticks(0, high, Math.max(2, Math.floor(width / 90))))
      svg.append(s("text", { x: x(tick), y: HEIGHT - 18, "text-anchor": "middle" }, amount(tick)));
    svg.append(s("text", { x: width - 12, y: HEIGHT - 4, "text-anchor": "end" }, "milliseconds"));
    for (const part of parts) {
      let path = `M${x(low).toFixed(1)},${y(0).toFixed(1)}`;
      for (const [value, share] of part.points) path += `H${x(value).toFixed(1)}V${y(share).toFixed(1)}`;
      svg.append(s("path", { class: `curve ${colour(part.condition).replace("k", "s")}`, d: path }));
    }
    return svg;
  };
}

// A label in the letters that there is room for; all of it when one points at it.
function fitted(label, letters) {
  const text = visible(label);
  return text.length <= letters ? [text] : [cut(text, Math.floor(letters)), s("title", {}, text)];
}

// rows: {label, estimate, low, high, kind, text}; bounds may be open (null).
export function forest(rows, { unit = "%", label = "Effects with intervals", nullAt = 0 } = {}) {
  return (width) => {
    const isSmall = width < 560;
    const left = isSmall ? 8 : Math.min(220, width * 0.26), right = isSmall ? 8 : Math.min(270, width * 0.32), step = isSmall ? 54 : 34;
    const height = rows.length * step + 40;
    const svg = frame(width, height, left, label);
    let [low, high] = domain(rows, nullAt);
    const isClipped = rows.some((row) => [row.low, row.high, row.estimate].some((v) => v !== null && v !== undefined && (v < low || v > high)));
    const pad = (high - low || 1) * 0.05;
    low -= pad; high += pad;
    const x = scaled(low, high, left, width - right, false);
    for (const tick of ticks(low, high, Math.max(2, Math.floor((width - left - right) / 80))))
      svg.append(s("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 4, y2: height - 30 }),
        s("text", { x: x(tick), y: height - 16, "text-anchor": "middle" }, amount(tick)));
    svg.append(s("text", { x: width - right, y: height - 2, "text-anchor": "end" }, isClipped ? `${unit}; an arrow goes on beyond the axis` : unit),
      s("line", { class: "zero", x1: x(nullAt), x2: x(nullAt), y1: 4, y2: height - 30 }));
    rows.forEach((row, index) => {
      const y = index * step + (isSmall ? 36 : 20);
      svg.append(s("text", { class: "ink", x: isSmall ? 8 : left - 12, y: isSmall ? y - 16 : y + 4, "text-anchor": isSmall ? "start" : "end" }, ...fitted(row.label, (isSmall ? width * 0.55 : left - 12) / 6)),
        s("text", { class: "ink", x: isSmall ? width - 8 : width - right + 12, y: isSmall ? y - 16 : y + 4, "text-anchor": isSmall ? "end" : "start" }, row.text));
      const from = Math.max(row.low ?? low, low), to = Math.min(row.high ?? high, high);
      if (row.low !== undefined && (row.low !== null || row.high !== null) && from <= high && to >= low)
        svg.append(s("line", { class: row.estimate === null ? "thin" : `bar ${row.kind || ""}`, x1: x(from), x2: x(to), y1: y, y2: y }));
      if ((row.low ?? low) < low || (row.low === null && row.estimate !== null)) svg.append(s("path", { class: `beyond ${row.kind || ""}`, d: `M${x(low) - 4},${y}l8,-5v10Z` }));
      if ((row.high ?? high) > high || (row.high === null && row.estimate !== null)) svg.append(s("path", { class: `beyond ${row.kind || ""}`, d: `M${x(high) + 4},${y}l-8,-5v10Z` }));
      if (row.estimate === null || row.estimate === undefined || row.estimate < low || row.estimate > high) return;
      const size = 4 + 5 * Math.sqrt(row.weight ?? 0.1);
      svg.append(row.isPooled
        ? s("path", { class: `est ${row.kind || ""}`, d: `M${x(from)},${y}L${x(row.estimate)},${y - 7}L${x(to)},${y}L${x(row.estimate)},${y + 7}Z` })
        : s("circle", { class: `est ${row.kind || ""}`, cx: x(row.estimate), cy: y, r: row.weight === undefined ? 5 : size }));
    });
    return svg;
  };
}

// One effect that is far off must not press the others into a dot: beyond its fellows' range it becomes an arrow.
function domain(rows, nullAt) {
  const far = rows.filter((row) => row.estimate !== null && row.estimate !== undefined)
    .map((row) => Math.max(...[row.low, row.high, row.estimate].filter((v) => v !== null && v !== undefined).map((v) => Math.abs(v - nullAt))))
    .sort((a, b) => a - b);
  if (!far.length) return [nullAt - 1, nullAt + 1];
  const cap = Math.max(2.5 * far[Math.floor((far.length - 1) / 2)], 1e-9);
  const limit = far[far.length - 1] > 2 * cap ? cap : far[far.length - 1];
  const inside = rows.filter((row) => row.estimate !== null && row.estimate !== undefined).flatMap((row) => [row.low, row.high, row.estimate])
    .filter((v) => v !== null && v !== undefined).map((v) => Math.min(Math.max(v, nullAt - limit), nullAt + limit));
  return [Math.min(nullAt, ...inside), Math.max(nullAt, ...inside)];
}

export function legend(entries) {
  return h("div", { class: "legend" }, entries.map(([mark, ...text]) => h("span", {}, mark, text)));
}
