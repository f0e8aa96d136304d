// Words, numbers and times as a person reads them.

import { h } from "./dom.js";

export const STATES = {
  done: ["✓", "done"],
  running: ["▶", "running"],
  waiting: ["◷", "waiting"],
  failed: ["✗", "failed"],
  cancelled: ["■", "cancelled"],
  cut_off: ["!", "cut off"],
  new: ["○", "to do"],
};

export function word(state) {
  return (STATES[state] ?? ["?", state])[1];
}

/** Symbol and word of a state, with how many are in it where that is told. */
export function state(name, count) {
  const [symbol, text] = STATES[name] ?? ["?", name];
  return h("span", { class: `state ${name in STATES ? name : ""}` },
    h("span", { class: "symbol", "aria-hidden": "true" }, symbol), count === undefined ? "" : ` ${whole(count)}`, ` ${text}`);
}

export function states(counts) {
  return h("span", { class: "states" }, Object.entries(counts).map(([name, count]) => state(name, count)));
}

export function whole(number) {
  return number.toLocaleString("en-GB");
}

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return value.toLocaleString("en-GB", { maximumFractionDigits: digits, minimumFractionDigits: size < 10 ? digits : Math.min(digits, 1) });
}

export function percent(value) {
  return value === null || value === undefined ? "–" : (100 * value).toFixed(1);
}

/** Rough and short: 40 s, 12 min, 3.5 h, 4 days. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 48 * 3600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

export function ago(time) {
  return time === null ? "–" : `${duration(Math.max(0, Date.now() / 1000 - time))} ago`;
}

/** Whether a metric is a share of one, and shown in per cent. */
export function isShare(metric) {
  return /(^|\/)(.*iou(\/.*)?|.*accuracy|f1|.*dice)$/.test(metric);
}

/** A score of a metric, in per cent where it is a share. */
export function score(metric, value) {
  return isShare(metric) ? percent(value) : number(value);
}

export function scoreName(metric) {
  return isShare(metric) ? `${metric} %` : metric;
}

export function bar(fraction, label) {
  const shown = Math.floor(1000 * fraction) / 10;
  return h("span", { class: "bar" },
    h("progress", { max: 1, value: fraction, "aria-label": label }), h("span", { class: "share" }, `${shown.toFixed(shown < 10 ? 1 : 0)} %`));
}

/** When runs will be done, or how much run time is left, in words. */
export function left(progress, isShort = false) {
  if (progress.eta_seconds !== null) return `about ${duration(progress.eta_seconds)}`;
  const waiting = (progress.counts.new ?? 0) + (progress.counts.waiting ?? 0) + (progress.counts.running ?? 0) + (progress.counts.cut_off ?? 0);
  if (!waiting) return "–";
  if (progress.unknown) return isShort ? "unknown yet" : "unknown until a run of each method has trained";
  return `${duration(progress.left_seconds)} of runs${isShort ? "" : ", none at work"}`;
}

/** What a heartbeat says of its GPU, in words. */
export function gpuUse(gpu) {
  return Object.entries(gpu).map(([name, value]) => {
    if (name === "gpu_percent") return ["GPU busy", `${number(value, 0)} %`];
    if (name.endsWith("_bytes")) return [`GPU ${name.slice(4, -6).replaceAll("_", " ")}`, `${number(value / 2 ** 30, 1)} GiB`];
    return [`GPU ${name.slice(4).replaceAll("_", " ")}`, String(value)];
  });
}

export function cellName([row, column, seed]) {
  return h("span", { class: "cell" }, h("span", null, row), " · ", h("span", null, column), ` · seed ${seed}`);
}

