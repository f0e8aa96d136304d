// One run: where it stands, curves, scores, pictures, settings, log.

import { get } from "./api.js";
import { pickBox } from "./basket.js";
import { charts } from "./chart.js";
import { address, h, link, put, table } from "./dom.js";
import { newest } from "./events.js";
import { pre } from "./failures.js";
import { ago, bar, cellName, duration, gpuUse, number, percent, score, scoreName, state, whole, word } from "./text.js";

export async function run({ content, crumbs, parameters }) {
  const id = parameters.get("id") ?? "";
  let told = await get("run", { id });
  const [first] = told.studies;
  crumbs([["Studies", "/"], ...(first ? [[first.key, address("/study", { key: first.key })]] : []), [id, null]]);
  const head = h("div");
  const said = h("p", { role: "status", class: "spoken" });
  const rest = h("div");
  const curves = charts(async (metrics) => [await get("curves", { id, metric: metrics })], [id]);
  const numbers = h("div");
  put(content, h("h1", null, h("code", null, id)), said, head, compareWith(id),
    h("div", { class: "sections" }, section("curves", "Curves", curves.node), numbers), rest);

  async function show() {
    if (said.textContent !== word(told.state)) said.textContent = word(told.state);
    put(head, standing(told), failure(told));
    put(numbers, scores(told));
    put(rest, pictures(told), told.failure ? "" : log(told), settings(told));
    await curves.refresh();
  }

  await show();
  return {
    refresh: async (news) => {
      if (!news.some((one) => one.isAll || one.plans || one.runs.includes(id))) return;
      told = await get("run", { id });
      await show();
    },
  };
}

function standing(told) {
  const total = told.num_steps || told.studies[0]?.num_steps || 0;
  const facts = [
    ["State", state(told.state)],
    ["Step", `${whole(told.step)} of ${whole(total)}${told.num_stages > 1 ? `, stage ${told.stage + 1} of ${told.num_stages}` : ""}`],
    ["mIoU", told.miou === null ? "–" : `${percent(told.miou)} %`],
    ["Loss", number(told.loss)],
    ["Time spent", duration(told.seconds)],
    ["Per step", told.seconds_per_step ? `${number(told.seconds_per_step, 3)} s` : "–"],
    ["Device", [told.device || "–", told.host ? ` on ${told.host}` : "", told.node ? `, node ${told.node.slice(0, 8)}` : ""]],
    ...gpuUse(told.gpu),
    ["Attempt", String(told.attempt)],
    ["Seen", told.state === "running" ? ago(told.seen) : told.seen ? new Date(1000 * told.seen).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "–"],
  ];
  return [
    told.damaged.length ? h("ul", { class: "problem" }, told.damaged.map((text) => h("li", null, text))) : "",
    bar(total ? Math.min(1, told.step / total) : 0, "progress of the run"),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    told.studies.length ? h("ul", { class: "places" }, told.studies.map((one) => h("li", null, link("/study", { key: one.key, focus: one.key }, one.key), ": ",
      one.cells.slice(0, 4).map((cell, place) => [place ? "; " : "", cellName(cell)]), one.cells.length > 4 ? ` and ${one.cells.length - 4} more cells` : ""))) : "",
  ];
}

function compareWith(id) {
  const list = h("datalist", { id: "run-ids" });
  const ask = newest();
  const field = h("input", { id: "other", type: "text", list: "run-ids", autocomplete: "off", oninput: async () => {
    const isNewest = ask();
    const told = await get("find", { text: field.value });
    if (!isNewest()) return;
    put(list, told.runs.filter((one) => one !== id).map((one) => h("option", { value: one })));
  } });
  return h("form", { class: "filters", onsubmit: (event) => {
    event.preventDefault();
    if (field.value.trim()) location.assign(address("/compare", { a: id, b: field.value.trim() }));
  } },
  h("div", { class: "field" }, h("label", { for: "other" }, "Compare with run"), field, list), h("button", { type: "submit" }, "Compare"),
  h("label", { class: "pick" }, pickBox(id), " pick for a comparison"));
}

function scores(told) {
  if (!told.scores.length) return "";
  const names = [...new Set(told.scores.flatMap((one) => Object.keys(one.scores)))];
  const classes = [...new Set(told.scores.flatMap((one) => Object.keys(one.iou)))];
  const heading = (one) => `${one.network}${one.subset === "val" ? "" : `, ${one.subset}`}`;
  return section("scores", "Final scores", h("div", { class: "beside" },
    table("Final scores, by network", ["Score", ...told.scores.map(heading)], names.map((name) => h("tr", null, h("th", { scope: "row" }, scoreName(name)), told.scores.map((one) => h("td", null, score(name, one.scores[name])))))),
    classes.length ? table("IoU of single classes in per cent, by network", ["Class", ...told.scores.map(heading)], classes.map((name) => h("tr", null, h("th", { scope: "row" }, name), told.scores.map((one) => h("td", null, percent(one.iou[name])))))) : ""),
    h("p", { class: "quiet" }, `Protocol: ${told.scores[0].protocol}`));
}

function pictures(told) {
  if (!told.pictures.length) return "";
  return section("pictures", "Predictions", h("p", { class: "quiet" }, "Left to right: image, truth, prediction."),
    h("div", { class: "pictures" }, told.pictures.map((name) => h("figure", null,
      h("img", { src: address("/api/picture", { id: told.run_id, name }), alt: `${name}: image, truth and prediction`, loading: "lazy" }), h("figcaption", null, name)))));
}

function settings(told) {
  const entries = Object.entries({ ...told.settings, ...told.task });
  if (!entries.length) return "";
  return section("settings", "Settings", h("details", { "data-focus": "settings", open: entries.length < 20 }, h("summary", null, `${entries.length} settings`),
    table("Everything that was asked for", ["Setting", "Value"], entries.map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value))), { hideCaption: true })));
}

function failure(told) {
  if (!told.failure) return "";
  return section("failure", "Why it failed", h("p", { class: "reason" }, `${told.failure.kind}: ${told.failure.message}`),
    told.failure.traceback ? pre("Traceback", told.failure.traceback) : "", log(told));
}

function log(told) {
  return told.log.length ? h("div", null, pre("End of the log", told.log.join("\n"))) : "";
}

export function section(name, title, ...children) {
  return h("section", { "aria-labelledby": `${name}-title` }, h("h2", { id: `${name}-title` }, title), ...children);
}
