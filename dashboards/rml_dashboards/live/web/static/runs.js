// The runs of a study: filters, a page at a time, two to compare.

import { get } from "./api.js";
import { pickBox } from "./basket.js";
import { address, h, link, put, table } from "./dom.js";
import { newest } from "./events.js";
import { pager } from "./pager.js";
import { ago, bar, cellName, gpuUse, number, percent, state, whole, word } from "./text.js";

const RUNS = 50;
const NAMES = ["row", "column", "state", "tag", "text"];
const HEAD = ["Run", "State", "Progress", "Cell", "mIoU %", "Loss", "s/step", "Device", "Seen"];

export function runList(key, head, parameters) {
  const filters = Object.fromEntries(NAMES.map((name) => [name, parameters.get(name) ?? ""]));
  const body = h("div");
  const said = h("p", { role: "status", class: "count" });
  let offset = 0;
  const ask = newest();
  let timer;

  async function refresh() {
    const isNewest = ask();
    const told = await get("runs", { key, ...filters, offset, limit: RUNS });
    if (!isNewest()) return;
    const text = told.total === head.progress.runs ? `${whole(told.total)} runs` : `${whole(told.total)} of ${whole(head.progress.runs)} runs`;
    if (said.textContent !== text) said.textContent = text;
    put(body, table("Runs that pass the filters", HEAD, told.runs.map(line), { hideCaption: true, className: "runs cards" }), pager("runs", told, RUNS, go));
  }

  function go(to) {
    offset = to;
    refresh();
  }

  function filter(name, value) {
    filters[name] = value;
    offset = 0;
    history.replaceState(null, "", address("/study", { key, ...filters }) + location.hash);
    clearTimeout(timer);
    timer = setTimeout(refresh, name === "text" ? 200 : 0);
  }

  const form = h("form", { class: "filters", role: "search", "aria-label": "Filter runs", onsubmit: (event) => event.preventDefault(), onreset: () => setTimeout(() => NAMES.forEach((name) => filter(name, ""))) },
    choice("row", "Row", head.rows.map((one) => [one, one]), filters, filter),
    choice("column", "Column", head.columns.map((one) => [one, one]), filters, filter),
    choice("state", "State", head.states.map((one) => [one, word(one)]), filters, filter),
    tags(head.tags, filters, filter),
    field("text", "Text", h("input", { id: "filter-text", type: "search", value: filters.text, placeholder: "id, setting, machine, reason", oninput: (event) => filter("text", event.target.value) })),
    h("button", { type: "reset" }, "Show all"));
  for (const name of NAMES) {
    const input = form.querySelector(`#filter-${name}`);
    if (input) input.defaultValue = "";
  }
  return { node: h("section", { id: "runs", "aria-labelledby": "runs-title" }, h("h2", { id: "runs-title" }, "Runs"), form, said, h("p", { class: "quiet" }, "Tick two runs, on any page, to compare them."), body), refresh };
}

function field(name, label, input) {
  return h("div", { class: "field" }, h("label", { for: `filter-${name}` }, label), input);
}

/** A labelled list of values; `canBeAll`: with a first one that stands for all of them. */
export function choice(name, label, values, chosen, onChoice, canBeAll = true) {
  const select = h("select", { id: `filter-${name}`, "data-focus": `choice ${name}`, onchange: (event) => onChoice(name, event.target.value) }, canBeAll ? h("option", { value: "" }, "all") : "",
    values.map(([value, text]) => h("option", { value }, text)));
  select.value = chosen[name];
  return field(name, label, select);
}

function tags(known, filters, filter) {
  const select = h("select", { id: "filter-tag", onchange: (event) => filter("tag", event.target.value) }, h("option", { value: "" }, "all"),
    known.map((tag) => h("optgroup", { label: tag.name }, tag.values.map((value) => h("option", { value: `${tag.name}=${value}` }, `${tag.name} = ${value}`)))));
  select.value = filters.tag;
  return field("tag", "Tag or setting", select);
}

function line(run) {
  const cells = run.cells.map((cell, index) => [index ? h("br") : "", cellName(cell)]);
  return h("tr", null,
    h("th", { scope: "row" }, pickBox(run.run_id), " ", link("/run", { id: run.run_id, focus: `run ${run.run_id}` }, run.run_id)),
    h("td", { class: "state-cell" }, state(run.state), run.reason ? h("div", { class: run.state === "waiting" ? "quiet" : "reason short" }, run.reason) : ""),
    h("td", { class: run.state === "done" ? "told" : null }, bar(run.num_steps ? Math.min(1, run.step / run.num_steps) : 0, `progress of ${run.run_id}`)),
    h("td", { class: "place-cell" }, cells.slice(0, 3), cells.length > 3 ? ` and ${cells.length - 3} more` : ""),
    value(percent(run.miou)), value(number(run.loss)), value(run.seconds_per_step ? number(run.seconds_per_step, 2) : "–"),
    h("td", { class: run.device || run.host ? "device-cell" : "told" }, run.device || "–", run.host ? h("div", { class: "quiet" }, run.host) : "", gpuUse(run.gpu).map(([name, value]) => h("div", { class: "quiet" }, `${name} ${value}`))),
    value(run.state === "running" ? ago(run.seen) : "–"));
}

/** A cell that a card leaves out where it says nothing; `told`: or nothing new. */
export function value(text) {
  return h("td", { class: text === "–" ? "told" : null }, text);
}
