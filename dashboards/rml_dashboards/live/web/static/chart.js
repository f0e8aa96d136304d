// Line charts as SVG: one metric of some runs or rows, with a cursor for mouse and keyboard.

import { h, put, svg } from "./dom.js";
import { again, newest } from "./events.js";
import { isShare, number, whole } from "./text.js";

const HEIGHT = 220;
const SPACE = { left: 56, right: 12, top: 10, bottom: 30 };

/** Round numbers that divide a range into about `count` parts. */
export function ticks(low, high, count, least = 0) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, [1, 2, 5, 10].find((one) => one * power >= rough) * power);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, place) => (first + place) * step);
}

/**
 * A figure of one metric.
 * Lines that it is updated with: [{label, look, points: [[step, value, spread]], live: [[step, value]]}]; look: a class of the
 * style sheet, by default that of the line's place; spread: half the width of the band, null: none; live: told since the
 * newest checkpoint.
 * @param isLarge whether it is as high as its width allows, for a chart that stands alone
 */
export function chart(metric, isLarge = false) {
  const share = isShare(metric);
  const drawing = svg("svg", { class: "chart", height: HEIGHT, width: 100, tabindex: 0, role: "img", "data-focus": `chart ${metric}` });
  const readout = h("p", { class: "readout" });
  const legend = h("p", { class: "legend" });
  const figure = h("figure", { class: "curve" }, h("figcaption", null, metric, share ? " (%)" : ""), drawing, legend, readout);
  let height = HEIGHT;
  let lines = [];
  let steps = [];
  let cursor = null;

  const shown = (value) => (share ? (100 * value).toFixed(1) : number(value));
  const look = (place) => lines[place].look ?? `run${place}`;
  const keyOf = (place) => (lines[place].look ? `key ${look(place)}` : look(place)); // one list is enough
  const full = ([, value, spread]) => shown(value) + (spread === null || spread === undefined ? "" : ` ± ${shown(spread)}`);

  function draw() {
    const width = Math.max(240, figure.clientWidth);
    height = isLarge ? Math.round(Math.max(HEIGHT, Math.min(520, 0.45 * width))) : HEIGHT;
    drawing.setAttribute("height", height);
    const all = lines.flatMap((line) => [...line.points, ...line.live]);
    drawing.setAttribute("width", width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("aria-label", `${metric}. ${lines.map(told).join(" ")} Arrow keys read values.`);
    if (!all.length) return;
    const x = scale(all.map(([step]) => step), SPACE.left, width - SPACE.right);
    const y = scale(all.flatMap(([, value, spread]) => (spread ? [value - spread, value + spread] : [value])), height - SPACE.bottom, SPACE.top, 0.05);
    drawing.replaceChildren(...axes(x, y, width), ...lines.flatMap((line, place) => band(line, place, x, y)), ...lines.flatMap((line, place) => paths(line, place, x, y)), ...marks(x, y));
  }

  function told({ label, points, live }) {
    const values = [...points, ...live];
    if (!values.length) return `${label}: nothing recorded.`;
    const [first, last] = [values[0], values.at(-1)];
    return `${label}: from ${full(first)} at step ${first[0]} to ${full(last)} at step ${last[0]}.`;
  }

  function axes(x, y, width) {
    const across = ticks(y.low, y.high, 4).map((value) => [
      svg("line", { class: "grid", x1: SPACE.left, x2: width - SPACE.right, y1: y.at(value), y2: y.at(value) }),
      svg("text", { class: "tick", x: SPACE.left - 6, y: y.at(value) + 4, "text-anchor": "end" }, share ? String(Number((100 * value).toFixed(2))) : String(Number(value.toPrecision(4))))]);
    const along = ticks(x.low, x.high, Math.max(2, width / 110), 1).map((value) =>
      svg("text", { class: "tick", x: x.at(value), y: height - 8, "text-anchor": value === x.high ? "end" : "middle" }, whole(value)));
    return [...across.flat(), ...along, svg("line", { class: "axis", x1: SPACE.left, x2: width - SPACE.right, y1: height - SPACE.bottom, y2: height - SPACE.bottom })];
  }

  function band({ points }, place, x, y) {
    const wide = points.filter(([, , spread]) => typeof spread === "number");
    if (wide.length < 2) return wide.map(([step, value, spread]) => svg("line", { class: `whisker ${look(place)}`, x1: x.at(step), x2: x.at(step), y1: y.at(value - spread), y2: y.at(value + spread) }));
    const edge = (sign) => wide.map(([step, value, spread]) => `${x.at(step).toFixed(1)} ${y.at(value + sign * spread).toFixed(1)}`);
    const opacity = 0.16 * Math.min(1, 4 / lines.length); // so that of many bands the lines stay the first thing seen
    return [svg("path", { class: `band ${look(place)}`, "fill-opacity": opacity, d: `M${[...edge(1), ...edge(-1).reverse()].join("L")}Z` })];
  }

  function paths({ points, live }, place, x, y) {
    const path = (values) => values.map(([step, value], i) => `${i ? "L" : "M"}${x.at(step).toFixed(1)} ${y.at(value).toFixed(1)}`).join("");
    const since = live.length ? [...points.slice(-1), ...live] : [];
    const dots = points.length + live.length <= 30 ? [...points, ...live].map(([step, value]) => svg("circle", { class: `dot ${look(place)}`, cx: x.at(step), cy: y.at(value), r: 2.5 })) : [];
    return [svg("path", { class: `line ${look(place)}`, d: path(points) }), svg("path", { class: `line live ${look(place)}`, d: path(since) }), ...dots];
  }

  function marks(x, y) {
    if (cursor === null) return [];
    const step = steps[cursor];
    const near = lines.map((line) => nearest([...line.points, ...line.live], step));
    put(readout, `Step ${whole(step)}: `, near.map((point, place) => (point ? h("span", { class: `value ${keyOf(place)}` }, lines.length > 1 ? `${lines[place].label} ` : "", full(point)) : "")));
    return [svg("line", { class: "cursor", x1: x.at(step), x2: x.at(step), y1: SPACE.top, y2: height - SPACE.bottom }),
      ...near.map((point, place) => (point ? svg("circle", { class: `mark ${look(place)}`, cx: x.at(point[0]), cy: y.at(point[1]), r: 4 }) : svg("g")))];
  }

  function move(to) {
    if (!steps.length) return;
    cursor = Math.max(0, Math.min(steps.length - 1, to));
    draw();
  }

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const part = (event.clientX - box.left - SPACE.left) / (box.width - SPACE.left - SPACE.right);
    const wanted = steps[0] + part * (steps.at(-1) - steps[0]);
    move(steps.findLastIndex((step) => step <= wanted));
  });
  drawing.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    readout.setAttribute("aria-live", "polite");
    move((cursor ?? -1) + by);
  });
  new ResizeObserver(draw).observe(figure);

  function update(fresh) {
    lines = fresh;
    steps = [...new Set(lines.flatMap((line) => [...line.points, ...line.live]).map(([step]) => step))].sort((a, b) => a - b);
    if (cursor !== null) cursor = Math.min(cursor, steps.length - 1);
    const isLive = lines.some((line) => line.live.length);
    put(legend, lines.length > 1 && !lines[0].look ? lines.map((line, place) => h("span", { class: `key ${look(place)}` }, line.label)) : "", isLive ? h("span", { class: "quiet" }, "dashed: said since the newest checkpoint") : "");
    if (cursor === null) put(readout, lines.map((line, place) => { const last = [...line.points, ...line.live].at(-1); return last ? h("span", { class: `value ${keyOf(place)}` }, `${lines.length > 1 ? `${line.label} ` : ""}last ${full(last)}`) : ""; }));
    draw();
  }
  return { figure, update };
}

function scale(values, from, to, margin = 0) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const more = high > low ? margin * (high - low) : Math.abs(high) * 0.1 || 1;
  [low, high] = [low - more, high + more];
  return { low, high, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

function nearest(points, step) {
  return points.reduce((best, point) => (best === null || Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best), null);
}

/** Charts of chosen metrics of one or two runs, and boxes to choose them. */
export function charts(load, labels) {
  const grid = h("div", { class: "curves" });
  const problem = h("p", { role: "status", class: "problem", hidden: "" });
  const boxes = h("div", { class: "boxes" });
  const more = h("details", { "data-focus": "metrics" }, h("summary", null, "Choose curves"), boxes);
  const node = h("div", null, problem, grid, more);
  const drawn = new Map();
  let chosen = null;
  let known = "";

  const tried = again(refresh);
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const wanted = chosen ?? ["train/loss", "val/miou"];
    const told = await load(wanted);
    if (!isNewest()) return;
    const problems = [...new Set(told.map((one) => one.problem).filter(Boolean))].join(" ");
    if (problem.textContent !== problems) problem.textContent = problems;
    problem.hidden = !problems;
    tried(problems !== "");
    const names = [...new Set(told.flatMap((one) => one.metrics))];
    if (chosen === null) chosen = wanted.filter((name) => names.includes(name));
    if (chosen.length === 0 && names.length) {
      chosen = names.slice(0, 2);
      return refresh();
    }
    if (names.join("\n") !== known) choices(names);
    known = names.join("\n");
    for (const name of drawn.keys()) if (!chosen.includes(name)) drawn.delete(name);
    const here = chosen.map((name) => {
      if (!drawn.has(name)) drawn.set(name, chart(name));
      return drawn.get(name).figure;
    });
    if (!here.length || here.length !== grid.children.length || here.some((one, place) => grid.children[place] !== one)) put(grid, here.length ? here : h("p", { class: "quiet" }, "Nothing has been measured yet."));
    for (const name of chosen) {
      drawn.get(name).update(told.map((one, place) => ({ label: labels[place], points: one.curves[name]?.points ?? [], live: one.curves[name]?.live ?? [] })));
    }
  }

  function choices(names) {
    put(boxes, names.map((name) => {
      const box = h("input", { type: "checkbox", "data-focus": `metric ${name}`, onchange: () => {
        chosen = box.checked ? [...chosen, name] : chosen.filter((one) => one !== name);
        refresh();
      } });
      box.checked = chosen.includes(name);
      return h("label", null, box, " ", name);
    }));
  }
  return { node, refresh };
}
