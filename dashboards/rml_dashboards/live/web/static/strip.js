// Single values as dots on one line, all lines of a table on one scale. Text beside them says the same.

import { ticks } from "./chart.js";
import { h, svg } from "./dom.js";

const MARGIN = 4;

/** Where a value stands on a line, in per cent of its width. */
function place([low, high], value) {
  const share = high > low ? (value - low) / (high - low) : 0.5;
  return `${(MARGIN + (100 - 2 * MARGIN) * Math.max(0, Math.min(1, share))).toFixed(2)}%`;
}

/**
 * Dots, their mean and its interval.
 * @param marks {values, mean, low, high}; low and high: null where no interval is shown
 * @param zero whether a line marks no difference
 */
export function strip(domain, { values, mean, low, high }, label, look, zero = false) {
  if (!domain || !values.length) return h("span", { class: "quiet" }, "–");
  const x = (value) => place(domain, value);
  const line = (css, from, to, y1, y2) => svg("line", { class: css, x1: x(from), x2: x(to), y1, y2 });
  return svg("svg", { class: "strip", height: 26, width: "100%", role: "img", "aria-label": label },
    zero ? line("zero", 0, 0, 0, 26) : "",
    low === null ? "" : line(`interval ${look}`, low, high, 13, 13),
    values.map((value) => svg("circle", { class: `one ${look}`, cx: x(value), cy: 13, r: 4 })),
    mean === null ? "" : line(`mean ${look}`, mean, mean, 3, 23));
}

/** The head of a column of strips: its name over its scale. */
export function stripHead(name, domain, digits) {
  const told = h("span", { class: "strip-head" }, name);
  told.dataset.label = name;
  if (domain && domain[1] > domain[0]) {
    told.append(svg("svg", { class: "strip", height: 16, width: "100%", "aria-hidden": "true" },
      ticks(domain[0], domain[1], 4).map((value) => svg("text", { class: "tick", x: place(domain, value), y: 12, "text-anchor": "middle" }, Number(value.toFixed(digits + 1))))));
  }
  return told;
}
