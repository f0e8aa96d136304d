// Runs that failed, each with its reason, and with its traceback and log when they are asked for.

import { get } from "./api.js";
import { h, link, put } from "./dom.js";
import { newest } from "./events.js";
import { pager } from "./pager.js";
import { cellName } from "./text.js";

const RUNS = 10;

/** @param tell called with how many there are */
export function failures(key, tell) {
  const body = h("div");
  const node = h("section", { id: "failures", "aria-labelledby": "failures-title", hidden: true }, h("h2", { id: "failures-title" }, "Failures"), body);
  const opened = new Map();
  let offset = 0;
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const told = await get("runs", { key, state: "failed", offset, limit: RUNS });
    if (!isNewest()) return;
    node.hidden = told.total === 0;
    tell(told.total);
    put(body, h("ul", { class: "failures" }, told.runs.map((run) => one(run, opened))), pager("failures", told, RUNS, (to) => { offset = to; refresh(); }));
  }
  return { node, refresh };
}

function one(run, opened) {
  const place = opened.get(run.run_id) ?? h("div", null);
  opened.set(run.run_id, place);
  const details = h("details", { "data-focus": `log ${run.run_id}`, ontoggle: () => details.open && !place.hasChildNodes() && fill(place, run.run_id) },
    h("summary", { "data-focus": `open ${run.run_id}` }, "Traceback and end of the log"), place);
  return h("li", null, link("/run", { id: run.run_id, focus: `failed ${run.run_id}` }, run.run_id), " ",
    h("span", { class: "quiet" }, run.cells.slice(0, 3).map((cell, index) => [index ? "; " : "", cellName(cell)])),
    h("p", { class: "reason" }, run.reason), details);
}

async function fill(place, id) {
  const told = await get("run", { id });
  put(place, told.failure?.traceback ? pre("Traceback", told.failure.traceback) : "", told.log.length ? pre("End of the log", told.log.join("\n")) : h("p", null, "It has no log."));
}

export function pre(label, text) {
  return h("figure", { class: "log" }, h("figcaption", null, label), h("pre", { tabindex: 0, role: "region", "aria-label": label, "data-scroll": label }, text));
}
