"use strict";
// Draws the page from the JSON in #data. Every text from a run goes in through textContent.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const state = { run: 0, resource: DATA.gpus ? "gpu" : "cpu", hidden: {}, decision: 0 };

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((c) => c !== null).map((c) => (typeof c === "object" ? c : String(c))));
  return node;
}
function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function number(v, digits) {
  if (v === null || v === undefined) return "–";
  if (digits === undefined) digits = Math.abs(v) >= 100 || Number.isInteger(v) ? 0 : Math.abs(v) >= 1 ? 2 : 3;
  return v.toLocaleString("en", { maximumFractionDigits: digits });
}
const UNITS = [[3 * 86400, 86400, "d"], [3 * 3600, 3600, "h"], [300, 60, "min"], [0, 1, "s"]];
function timeUnit(span) { return UNITS.find((u) => span >= u[0]); }
function duration(s) { const u = timeUnit(Math.abs(s)); return `${number(s / u[1], 2)} ${u[2]}`; }
function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const out = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return out;
}
function tip(event, text) {
  const box = $("tip");
  if (!text) { box.hidden = true; return; }
  box.textContent = text;
  box.hidden = false;
  const right = event.clientX + 16 + box.offsetWidth > innerWidth;
  box.style.left = `${right ? event.clientX - box.offsetWidth - 12 : event.clientX + 14}px`;
  box.style.top = `${Math.min(event.clientY + 14, innerHeight - box.offsetHeight - 8)}px`;
}

// -- curves ------------------------------------------------------------------------------
function chart(id, spec) {
  const host = $(id);
  host.replaceChildren();
  const off = (state.hidden[id] = state.hidden[id] || {});
  if (spec.lines.length > 1) {
    const legend = el("div", { class: "legend" });
    spec.lines.forEach((line) => {
      const key = el("button", { type: "button", "aria-pressed": String(!off[line.name]) }, el("i", { class: `b${line.color % 8}` }), line.name);
      key.onclick = () => { off[line.name] = !off[line.name]; chart(id, spec); };
      legend.append(key);
    });
    host.append(legend);
  }
  const shown = spec.lines.filter((line) => !off[line.name] && line.x.length);
  if (!shown.length) { host.append(el("p", { class: "empty" }, spec.empty || "Nothing to show.")); return; }
  const width = Math.max(280, host.clientWidth), height = 250, left = 46, right = 14, top = 10, bottom = 38;
  const xs = shown.flatMap((l) => [l.x[0], l.x[l.x.length - 1]]);
  const log = spec.log;
  const fx = (v) => (log ? Math.log10(1 + v) : v);
  const x0 = Math.min(...xs.map(fx)), x1 = Math.max(...xs.map(fx), x0 + 1e-9);
  let y1 = spec.top || 0;
  for (const l of shown) for (const v of l.y) if (v > y1) y1 = v;
  y1 = y1 || 1;
  const yTicks = ticks(0, y1, 5);
  y1 = Math.max(y1, yTicks[yTicks.length - 1]);
  const px = (v) => left + ((fx(v) - x0) / (x1 - x0)) * (width - left - right);
  const py = (v) => height - bottom - (v / y1) * (height - top - bottom);
  const svg = shape("svg", { height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label });
  for (const v of yTicks) {
    svg.append(shape("line", { class: "grid-line", x1: left, x2: width - right, y1: py(v), y2: py(v) }));
    svg.append(shape("text", { x: left - 7, y: py(v) + 4, "text-anchor": "end" }, number(v)));
  }
  const unit = spec.time ? timeUnit(x1 - x0) : [0, 1, ""];
  const marks = log ? logTicks(10 ** x1 - 1) : ticks(x0 / unit[1], x1 / unit[1], width / 75).map((v) => [v * unit[1], number(v)]);
  for (const [v, text] of marks) svg.append(shape("text", { x: px(v), y: height - bottom + 16, "text-anchor": "middle" }, text));
  svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  const label = spec.time ? `${spec.xLabel} (${unit[2]})` : spec.xLabel;
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, label));
  for (const line of shown) svg.append(shape("path", { class: `series c${line.color % 8}`, d: path(line, px, py) }));
  hover(svg, shown, spec, { px, py, left, right, width, height, top, bottom, x0, x1, fx, unit });
  host.append(svg);
}
function path(line, px, py) {
  let d = `M${px(line.x[0]).toFixed(1)} ${py(line.y[0]).toFixed(1)}`;
  for (let i = 1; i < line.x.length; i++) d += `H${px(line.x[i]).toFixed(1)}V${py(line.y[i]).toFixed(1)}`;
  return d;
}
function logTicks(high) {
  const all = [[0, "0"], [1, "1 s"], [10, "10 s"], [60, "1 min"], [600, "10 min"], [3600, "1 h"], [36000, "10 h"], [86400 * 7, "7 d"], [86400 * 70, "70 d"]];
  return all.filter((t) => t[0] <= high * 1.001);
}
function before(array, value) {
  let low = 0, high = array.length;
  while (low < high) { const middle = (low + high) >> 1; if (array[middle] <= value) low = middle + 1; else high = middle; }
  return Math.max(0, low - 1);
}
function hover(svg, lines, spec, g) {
  const cross = shape("line", { class: "cross", y1: g.top, y2: g.height - g.bottom, visibility: "hidden" });
  svg.append(cross);
  svg.onmousemove = (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * g.width) / box.width;
    if (at < g.left || at > g.width - g.right) { cross.setAttribute("visibility", "hidden"); tip(event, ""); return; }
    const scaled = g.x0 + ((at - g.left) / (g.width - g.left - g.right)) * (g.x1 - g.x0);
    const value = spec.log ? 10 ** scaled - 1 : scaled;
    cross.setAttribute("x1", at); cross.setAttribute("x2", at); cross.setAttribute("visibility", "visible");
    const head = spec.time || spec.log ? duration(value) : `${number(value, 1)} %`;
    tip(event, [head, ...lines.map((l) => `${l.name}: ${number(l.y[before(l.x, value)], 2)}${spec.unit}`)].join("\n"));
  };
  svg.onmouseleave = (event) => { cross.setAttribute("visibility", "hidden"); tip(event, ""); };
}

// -- canvases ----------------------------------------------------------------------------
function variable(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
function ramp(share) {
  const low = variable("--low").split(" ").map(Number), high = variable("--high").split(" ").map(Number);
  return `rgb(${low.map((v, i) => Math.round(v + (high[i] - v) * share)).join(",")})`;
}
function canvas(host, height) {
  const width = Math.max(280, host.clientWidth), ratio = devicePixelRatio || 1;
  const node = el("canvas", {});
  node.width = width * ratio; node.height = height * ratio; node.style.height = `${height}px`;
  const context = node.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "11.5px system-ui, sans-serif";
  return { node, context, width, height };
}
function clip(text, length) { return text.length > length ? `${text.slice(0, length - 1)}…` : text; }
function timeAxis(c, left, right, y, span) {
  const unit = timeUnit(span);
  c.context.fillStyle = variable("--soft"); c.context.textAlign = "center"; c.context.textBaseline = "top";
  for (const v of ticks(0, span / unit[1], c.width / 90)) c.context.fillText(number(v), left + ((v * unit[1]) / span) * (c.width - left - right), y + 6);
  c.context.fillText(`time since start (${unit[2]})`, left + (c.width - left - right) / 2, y + 22);
}
function heat() {
  const h = DATA.runs[state.run].heat, host = $("heat");
  host.replaceChildren();
  $("heat-title").textContent = `${h.title} by node over time, %`;
  $("heat-note").textContent = h.note;
  if (!h.values.length || h.span <= 0) { host.append(el("p", { class: "empty" }, "No time passes in this run.")); return; }
  const key = el("div", { class: "ramp" }, "0 %"), scale = canvas({ clientWidth: 160 }, 10);
  for (let x = 0; x < 280; x++) { scale.context.fillStyle = ramp(x / 280); scale.context.fillRect(x, 0, 1, 10); }
  key.append(scale.node, "100 %");
  const left = 96, right = 14, head = 8, rows = h.values.length, row = Math.max(2, Math.min(16, 420 / rows));
  const c = canvas(host, head + rows * row + 42), bins = h.values[0].length, step = (c.width - left - right) / bins;
  h.values.forEach((line, i) => line.forEach((v, j) => {
    c.context.fillStyle = v === null ? variable("--none") : ramp(v / 100);
    c.context.fillRect(left + j * step, head + i * row, step + 0.6, row + (row > 6 ? -1 : 0.4));
  }));
  c.context.fillStyle = variable("--soft"); c.context.textAlign = "right"; c.context.textBaseline = "middle";
  const every = Math.max(1, Math.ceil(14 / row));
  h.names.forEach((name, i) => { if (i % every === 0) c.context.fillText(clip(name, 14), left - 8, head + i * row + row / 2); });
  timeAxis(c, left, right, head + rows * row, h.span);
  c.node.onmousemove = (event) => {
    const i = Math.floor((event.offsetY - head) / row), j = Math.floor((event.offsetX - left) / step);
    const inside = i >= 0 && i < rows && j >= 0 && j < bins;
    tip(event, inside ? `${h.names[i]}\n${duration((j / bins) * h.span)}: ${number(h.values[i][j], 0)} %` : "");
  };
  c.node.onmouseleave = (event) => tip(event, "");
  host.append(key, c.node);
}
function gantt() {
  const g = DATA.runs[state.run].gantt, host = $("gantt");
  host.replaceChildren();
  $("gantt-note").textContent = g.note;
  if (!g.bars.length || g.span <= 0) { host.append(el("p", { class: "empty" }, "No task ran for any time.")); return; }
  const left = 96, right = 14, gap = 5, lane = Math.max(2, Math.min(9, 560 / g.lanes.reduce((a, b) => a + b, 0)));
  const tops = []; let y = 0;
  for (const n of g.lanes) { tops.push(y); y += n * lane + gap; }
  const c = canvas(host, y + 42), scale = (c.width - left - right) / g.span;
  c.context.fillStyle = variable("--none");
  g.lanes.forEach((n, i) => c.context.fillRect(left, tops[i], c.width - left - right, n * lane));
  const colors = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => variable(`--s${i}`));
  for (const [node, at, start, end, color] of g.bars) {
    c.context.fillStyle = colors[color];
    c.context.fillRect(left + start * scale, tops[node] + at * lane, Math.max(1, (end - start) * scale - 0.5), Math.max(1, lane - (lane > 3 ? 1 : 0.3)));
  }
  c.context.fillStyle = variable("--soft"); c.context.textAlign = "right"; c.context.textBaseline = "middle";
  g.nodes.forEach((name, i) => c.context.fillText(clip(name, 14), left - 8, tops[i] + (g.lanes[i] * lane) / 2));
  timeAxis(c, left, right, y, g.span);
  c.node.onmousemove = (event) => {
    const when = (event.offsetX - left) / scale;
    const bar = g.bars.find((b) => when >= b[2] && when <= b[3] && event.offsetY >= tops[b[0]] + b[1] * lane && event.offsetY < tops[b[0]] + (b[1] + 1) * lane);
    tip(event, bar ? `${bar[5]}\n${g.nodes[bar[0]]}, ${g.kinds[bar[4]]}\n${duration(bar[2])} to ${duration(bar[3])}` : "");
  };
  c.node.onmouseleave = (event) => tip(event, "");
  const legend = el("div", { class: "legend" });
  g.kinds.forEach((kind, i) => { if (kind) legend.append(el("button", { type: "button", disabled: "" }, el("i", { class: `b${i}` }), kind)); });
  host.append(legend, c.node);
}

// -- decisions ---------------------------------------------------------------------------
function table(columns, rows, winner) {
  const head = el("tr", {}, ...columns.map((c, i) => el("th", { class: i ? "num" : "" }, c)));
  const body = rows.map((row, r) => el("tr", { class: r === winner ? "winner" : "" }, ...row.map((v, i) => el("td", { class: i ? "num" : "" }, typeof v === "number" ? number(v) : v))));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}
function bars(counts, total) {
  const out = el("div", {});
  for (const [name, n] of Object.entries(counts)) {
    const svg = shape("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(shape("rect", { x: 0, y: 0, height: 10, width: total ? (100 * n) / total : 0 }));
    out.append(el("div", { class: "bar" }, el("span", {}, name), svg, el("span", {}, number(n))));
  }
  return out;
}
function explain() {
  const run = DATA.runs[state.run], d = run.decisions[state.decision], host = $("decision");
  host.replaceChildren();
  if (!d) { host.append(el("p", { class: "empty" }, "No decision chosen.")); return; }
  const where = d.action === "bind" ? `went to ${d.node}${d.gpus ? `, GPU ${d.gpus}` : ""}` : d.action === "wait" ? "had to wait" : "was rejected";
  host.append(el("h3", {}, `${d.task} ${where}`), el("p", { class: "note" }, `at ${duration(d.time_s)}, event ${d.event} of the log`), el("p", {}, d.summary));
  if (Object.keys(d.refused).length) host.append(el("h3", {}, "Filters: nodes refused, by reason"), bars(d.refused, run.nodes));
  if (d.scores.length) {
    const columns = Object.keys(d.scores[0]);
    const ties = d.ties > 1 ? ` ${number(d.ties)} nodes share the highest total; tie rule: ${d.tie_rule}.` : "";
    host.append(el("h3", {}, "Scores: the best nodes, then one for each lower total"), el("p", { class: "note" }, `${number(d.scored)} nodes fit.${ties}`));
    host.append(table(columns, d.scores.map((s) => columns.map((c) => s[c])), d.scores.findIndex((s) => s.node === d.node)));
  }
  if (d.note) host.append(el("p", { class: "note" }, d.note));
}
function list() {
  const run = DATA.runs[state.run], host = $("decisions"), wanted = $("search").value.toLowerCase();
  host.replaceChildren();
  run.decisions.forEach((d, i) => {
    if (!`${d.task} ${d.node} ${d.action}`.toLowerCase().includes(wanted)) return;
    const what = d.action === "bind" ? `bind → ${d.node}` : d.action;
    const item = el("button", { type: "button", "aria-pressed": String(i === state.decision) }, d.task, el("small", {}, `${duration(d.time_s)}, ${what}`));
    item.onclick = () => { state.decision = i; list(); explain(); };
    host.append(el("li", {}, item));
  });
  if (!host.children.length) host.append(el("li", { class: "empty" }, "None of the decisions kept here matches. `cerebrum describe task` explains any task."));
}

// -- the page ----------------------------------------------------------------------------
function curves() {
  const many = DATA.runs.length > 1, names = { gpu: "GPU", cpu: "CPU", memory: "memory" };
  const tabs = $("resource");
  tabs.replaceChildren();
  if (many) for (const r of DATA.gpus ? ["gpu", "cpu", "memory"] : ["cpu", "memory"]) {
    const tab = el("button", { type: "button", "aria-pressed": String(r === state.resource) }, names[r]);
    tab.onclick = () => { state.resource = r; curves(); };
    tabs.append(tab);
  }
  const x = { time: DATA.time, xLabel: DATA.x_label };
  const each = (key) => DATA.runs.map((r, i) => ({ name: r.label, color: i, x: r.x, y: r[key] }));
  const resources = (DATA.gpus ? ["gpu", "cpu", "memory"] : ["cpu", "memory"]).map((r, i) => ({ name: names[r], color: i, x: DATA.runs[0].x, y: DATA.runs[0][r] }));
  chart("allocation", { ...x, lines: many ? each(state.resource) : resources, top: 100, unit: " %", label: "Allocation over time in percent of capacity" });
  $("fragmentation-card").hidden = !DATA.gpus;
  if (DATA.gpus) chart("fragmentation", { ...x, lines: each("fragmentation"), unit: " %", label: "Fragmented GPUs over time" });
  chart("queue", { ...x, lines: each("queue"), unit: " tasks", label: "Queue length over time" });
  const waits = DATA.runs.map((r, i) => ({ name: r.label, color: i, x: r.wait.x, y: r.wait.y }));
  const waited = waits.some((w) => w.x.length && w.x[w.x.length - 1] > 0);
  $("wait-note").textContent = DATA.runs.map((r) => (many ? `${r.label}: ` : "") + r.wait.note).join(" ");
  chart("wait", { lines: waited ? waits : [], log: true, top: 100, xLabel: "wait, at most", unit: " %", label: "Cumulative distribution of waits", empty: "No task that started had to wait." });
}
function reasons() {
  const run = DATA.runs[state.run], host = $("reasons");
  host.replaceChildren();
  const most = Math.max(0, ...Object.values(run.waiting), ...Object.values(run.rejected));
  if (!most) { host.append(el("p", { class: "empty" }, "Every task found a place at once.")); return; }
  for (const [title, counts] of [["Had to wait", run.waiting], ["Rejected", run.rejected]]) if (Object.keys(counts).length) host.append(el("h3", { class: "note" }, title), bars(counts, most));
}
function draw() { curves(); heat(); gantt(); reasons(); list(); explain(); $("explorer-note").textContent = DATA.runs[state.run].explorer_note; }
function choose(dark) { document.documentElement.classList.toggle("dark", dark); }
choose(matchMedia("(prefers-color-scheme: dark)").matches);
$("theme").onclick = () => { choose(!document.documentElement.classList.contains("dark")); draw(); };
$("search").oninput = list;
if (DATA.runs.length > 1) {
  $("picker").hidden = false;
  DATA.runs.forEach((r, i) => $("run").append(el("option", { value: i }, r.label)));
  $("run").onchange = (event) => { state.run = Number(event.target.value); state.decision = DATA.runs[state.run].first_decision; draw(); };
}
state.decision = DATA.runs[0].first_decision;
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 120); });
draw();
