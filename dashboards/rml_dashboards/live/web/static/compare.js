// Two runs beside each other: what differs first, then curves, scores of classes, the same images.

import { get } from "./api.js";
import { charts } from "./chart.js";
import { address, h, link, put, table } from "./dom.js";
import { section } from "./run.js";
import { percent, score, scoreName, state } from "./text.js";

const SIDES = ["A", "B"];

export async function comparison({ content, crumbs, parameters }) {
  const pair = { a: parameters.get("a") ?? "", b: parameters.get("b") ?? "" };
  const ids = [pair.a, pair.b];
  crumbs([["Studies", "/"], ["Comparison", null]]);
  let told = await get("compare", pair);
  const head = h("div");
  const rest = h("div");
  const curves = charts((metrics) => Promise.all(ids.map((id) => get("curves", { id, metric: metrics }))), SIDES);
  const differing = h("div");
  const numbers = h("div");
  put(content, h("h1", null, "Two runs"), head, h("div", { class: "sections" }, differing, h("div", null, section("curves", "Curves", curves.node), numbers)), rest);
  let shownPictures = "";

  async function show() {
    put(head, names(told));
    put(differing, differences(told));
    const pictures = told.pictures.join("\n");
    if (pictures !== shownPictures || !rest.hasChildNodes()) put(rest, images(told));
    shownPictures = pictures;
    put(numbers, scores(told));
    await curves.refresh();
  }

  await show();
  return {
    refresh: async (news) => {
      if (!news.some((one) => one.isAll || one.plans || one.runs.some((run) => ids.includes(run)))) return;
      told = await get("compare", pair);
      await show();
    },
  };
}

function names(told) {
  return h("ul", { class: "pair" }, told.runs.map((one, place) => h("li", { class: `run${place}` }, h("strong", { class: `value run${place}` }, SIDES[place]), " ",
    link("/run", { id: one.run_id, focus: SIDES[place] }, one.run_id), " ", state(one.state), one.miou === null ? "" : ` mIoU ${percent(one.miou)} %`)));
}

function differences(told) {
  const side = (value) => (value === null ? h("span", { class: "quiet" }, "not there") : value);
  return section("differing", "What differs",
    told.differing.length
      ? table("Settings that differ", ["Setting", ...SIDES], told.differing.map(([name, a, b]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, side(a)), h("td", null, side(b)))), { hideCaption: true })
      : h("p", null, "No setting differs."),
    h("p", { class: "quiet" }, `${told.num_same} settings are the same.`),
    told.is_same_data ? "" : h("p", { class: "problem" }, "The runs have seen different data; their scores are not of the same images."),
    told.runs[0].protocol && told.runs[1].protocol && told.runs[0].protocol !== told.runs[1].protocol ? h("p", { class: "problem" }, `Scored under different protocols: ${told.runs[0].protocol} and ${told.runs[1].protocol}.`) : "");
}

function difference(name, a, b) {
  if (a === null || b === null) return "–";
  const text = score(name, Math.abs(b - a));
  return Number(text) === 0 ? `±${text}` : `${b < a ? "−" : "+"}${text}`;
}

function scores(told) {
  const rows = (values) => values.map(([name, a, b]) => h("tr", null, h("th", { scope: "row" }, scoreName(name)), h("td", null, score(name, a)), h("td", null, score(name, b)), h("td", null, difference(name, a, b))));
  const classes = (values) => values.map(([name, a, b]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, percent(a)), h("td", null, percent(b)), h("td", null, difference("miou", a, b))));
  if (!told.scores.length && !told.iou.length) return section("scores", "Scores", h("p", { class: "quiet" }, "Neither run has final scores yet."));
  const of = told.runs.map((one, place) => (one.network ? `${SIDES[place]}: ${one.network}` : "")).filter(Boolean).join(", ");
  return section("scores", "Scores", h("div", { class: "beside" },
    table(`Final scores (${of})`, ["Score", ...SIDES, "B − A"], rows(told.scores)),
    told.iou.length ? table("IoU of single classes in per cent", ["Class", ...SIDES, "B − A"], classes(told.iou)) : ""));
}

function images(told) {
  if (!told.pictures.length) return section("images", "The same images", h("p", { class: "quiet" }, "The runs have no picture in common."));
  return section("images", "The same images", h("p", { class: "quiet" }, "Left to right: image, truth, prediction. The slider lays B over A."),
    h("div", { class: "pictures" }, told.pictures.map((name, place) => both(told, name, place))));
}

function both(told, name, place) {
  const picture = (side, css) => h("img", { class: css, src: address("/api/picture", { id: told.runs[side].run_id, name }), alt: `${name} as run ${SIDES[side]} sees it: image, truth and prediction`, loading: "lazy" });
  const upper = picture(1, "upper");
  const id = `slide-${place}`;
  const slider = h("input", { id, type: "range", min: 0, max: 100, value: 50, oninput: () => { upper.style.opacity = String(slider.value / 100); } });
  upper.style.opacity = "0.5";
  return h("figure", { class: "both" }, h("figcaption", null, name),
    h("div", { class: "row" }, h("span", { class: "value run0" }, "A"), picture(0)), h("div", { class: "row" }, h("span", { class: "value run1" }, "B"), picture(1)),
    h("details", null, h("summary", null, "One over the other"), h("div", { class: "stack" }, picture(0), upper), h("label", { for: id }, "Share of B "), slider));
}
