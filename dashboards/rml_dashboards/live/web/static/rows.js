// Rows of a study beside each other: curves over seeds, single scores, paired differences, the same image.

import { get } from "./api.js";
import { chart } from "./chart.js";
import { address, h, link, put, spoken, table } from "./dom.js";
import { again, newest } from "./events.js";
import { pager } from "./pager.js";
import { rowPictures } from "./rowpictures.js";
import { section } from "./run.js";
import { choice, value } from "./runs.js";
import { strip, stripHead } from "./strip.js";
import { whole } from "./text.js";

const ROWS = 30;
const MOST_DRAWN = 14;
const FIRST_METRICS = ["val/miou", "train/loss"];
const LOOKS = 28;

/** The class that draws a row, by its place in the table. */
export function lookOf(labels, label) {
  return `row${labels.indexOf(label) % LOOKS}`;
}

export async function rows({ content, crumbs, parameters }) {
  const key = parameters.get("key") ?? "";
  const head = await get("study", { key });
  crumbs([["Studies", "/"], [key, address("/study", { key })], ["Rows", null]]);
  const asked = (name, known) => (known.includes(parameters.get(name)) ? parameters.get(name) : "");
  const chosen = {
    key,
    column: asked("column", head.columns) || head.columns[0] || "",
    against: asked("against", head.rows),
    metric: parameters.get("metric") ?? "",
    seed: parameters.get("seed") ?? "",
    image: parameters.get("image") ?? "",
    row: parameters.getAll("row").filter((one) => head.rows.includes(one)),
  };
  const keep = () => history.replaceState(null, "", address("/rows", chosen) + location.hash);
  const shared = { key, chosen, keep, labels: head.rows };
  const parts = [curves(shared), scores(shared), differences(shared), rowPictures(shared)];
  const columns = choice("column", "Column", head.columns.map((one) => [one, one]), chosen, (_, value) => {
    chosen.column = value;
    keep();
    for (const part of parts) part.first();
    refresh();
  }, false);
  put(content, h("h1", null, `${key}: rows beside each other`), h("form", { class: "filters", "aria-label": "What is shown", onsubmit: (event) => event.preventDefault() }, columns),
    h("div", { class: "sections" }, parts.map((part) => part.node)));

  const tried = again(refresh);
  async function refresh() {
    const wrong = [];
    for (const part of parts) wrong.push(await part.refresh());
    tried(wrong.includes(true));
  }
  await refresh();
  return {
    refresh: async (news) => {
      if (news.some((one) => one.isAll || one.plans || one.studies.includes(key))) await refresh();
    },
  };
}

function problem(text) {
  return h("p", { class: "problem" }, text);
}

function notes(texts) {
  return texts.length ? h("ul", { class: "notes quiet" }, texts.map((text) => h("li", null, text.replaceAll("`", "")))) : "";
}

function curves({ key, chosen, keep, labels }) {
  const place = h("div");
  const body = h("div", { class: "large curves" });
  const said = h("div");
  const boxes = h("fieldset", { class: "boxes" });
  let drawn = null;
  let known = "";
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const wanted = chosen.row.length ? chosen.row : (await get("rows", { key, column: chosen.column, limit: 1 })).drawn;
    if (!isNewest()) return;
    if (!wanted?.length) return put(body, h("p", { class: "quiet" }, "No row of this column can be drawn."));
    const metric = chosen.metric || FIRST_METRICS[0];
    const told = await get("rows/curves", { key, column: chosen.column, metric, row: wanted });
    if (!isNewest()) return;
    if (!told.metrics.includes(metric) && told.metrics.length && !chosen.metric) {
      chosen.metric = FIRST_METRICS.find((one) => told.metrics.includes(one)) ?? told.metrics[0];
      return refresh();
    }
    choices(told.metrics, metric, wanted);
    if (drawn?.metric !== metric) drawn = { metric, ...chart(metric, true) };
    if (!told.curves.length) put(body, told.problem ? problem(told.problem) : h("p", { class: "quiet" }, `Nothing has been measured of ${metric} yet.`));
    else if (!body.contains(drawn.figure)) put(body, drawn.figure);
    drawn.update(told.curves.map((one) => ({ label: `${one.row} (n = ${one.n === one.n_expected ? one.n : `${one.n} of ${one.n_expected}`})`, look: lookOf(labels, one.row), points: one.points, live: [] })));
    tell(told);
    return told.problem !== "";
  }

  function tell(told) {
    const isWide = told.curves.some((one) => one.n > 1);
    put(said, h("p", { class: "quiet" }, `Line: mean over seeds${isWide ? "; band: ± one sample standard deviation" : ""}. Arrow keys read values.`), notes(told.notes));
  }

  function choices(metrics, metric, wanted) {
    const now = JSON.stringify([metrics, metric, wanted]);
    if (now === known) return;
    known = now;
    const all = metrics.includes(metric) ? metrics : [metric, ...metrics];
    put(place, choice("metric", "Curve of", all.map((one) => [one, one]), { metric }, (_, value) => {
      chosen.metric = value;
      keep();
      refresh();
    }, false));
    put(boxes, h("legend", null, `Rows that are drawn (${whole(wanted.length)} of ${whole(labels.length)}, at most ${MOST_DRAWN})`), labels.map((label) => {
      const box = h("input", { type: "checkbox", "data-focus": `row ${label}`, onchange: () => {
        chosen.row = box.checked ? [...wanted, label] : wanted.filter((one) => one !== label);
        keep();
        refresh();
      } });
      box.checked = wanted.includes(label);
      box.disabled = !box.checked && wanted.length >= MOST_DRAWN;
      return h("label", null, box, " ", h("span", { class: `key ${lookOf(labels, label)}` }, label));
    }));
  }

  const which = h("details", { "data-focus": "which rows", open: labels.length <= 16 }, h("summary", null, "Choose rows"), boxes);
  return { node: section("row-curves", "Learning curves over seeds", h("div", { class: "filters" }, place), body, said, which), refresh, first: () => {} };
}

const decimal = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
const signed = (value, digits) => (value === null ? "–" : `${value > 0 ? "+" : ""}${decimal(value, digits)}`);
const range = (low, high, write) => (low === null ? "–" : `${write(low)} to ${write(high)}`);

function scores({ key, chosen, labels }) {
  const body = h("div");
  let offset = 0;
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const told = await get("rows", { key, column: chosen.column, offset, limit: ROWS });
    if (!isNewest()) return;
    if (told.problem) {
      put(body, problem(told.problem));
      return true;
    }
    const head = ["Row", "Runs", "Mean ± sd", "95 % interval", stripHead("Single scores", told.domain, told.digits)];
    put(body, table(`${told.measure} of every run of ${chosen.column}`, head, told.rows.map((one) => line(one, told)), { className: "beside-rows cards", name: "row-scores", title: `recorded as ${told.key}` }),
      pager("row scores", told, ROWS, (to) => { offset = to; refresh(); }), notes(told.warnings));
    return told.warnings.length > 0;
  }

  function line(row, told) {
    const done = row.runs.filter((one) => one.value !== null);
    const values = done.map((one) => one.value);
    const text = (value) => decimal(value, told.digits);
    const isInterval = row.n >= 5;
    const label = values.length ? `${row.label}: ${values.map(text).join(", ")}` : "";
    return h("tr", null, h("th", { scope: "row" }, row.label, row.group ? h("div", { class: "quiet" }, row.group) : ""),
      h("td", null, runsOf(row, text)),
      h("td", null, row.mean === null ? row.status : [text(row.mean), row.std === null ? "" : ` ± ${text(row.std)}`]),
      value(range(row.ci_low, row.ci_high, text)),
      h("td", { class: "strip-cell" }, strip(told.domain, { values, mean: row.mean, low: isInterval ? row.ci_low : null, high: row.ci_high }, label, lookOf(labels, row.label))));
  }
  return { node: section("row-scores", "Single scores", body, h("p", { class: "quiet" }, "Dots: runs; upright line: their mean; bar: 95 % interval of the mean, from five runs on.")), refresh, first: () => { offset = 0; } };
}

function runsOf(row, text) {
  return h("details", { "data-focus": `runs of ${row.label}` }, h("summary", null, row.n === row.n_expected ? String(row.n) : `${row.n} of ${row.n_expected}`, spoken(` runs of ${row.label}`)),
    h("ul", { class: "inline" }, row.runs.map((one) => h("li", null, link("/run", { id: one.run_id, focus: `seed ${one.run_id}` }, `seed ${one.seed}`), " ", one.value === null ? one.state : text(one.value)))));
}

function differences({ key, chosen, keep, labels }) {
  const body = h("div");
  const pick = h("div", { class: "filters" });
  let offset = 0;
  let known = "";
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const { choices, against } = await get("rows", { key, column: chosen.column, limit: 1 });
    if (!isNewest()) return;
    const from = choices.includes(chosen.against) ? chosen.against : choices.includes(against) ? against : choices[0] ?? "";
    const now = JSON.stringify([choices, from]);
    if (now !== known) {
      put(pick, choice("against", "Differences from", choices.map((one) => [one, one]), { against: from }, (_, value) => {
        chosen.against = value;
        offset = 0;
        keep();
        refresh();
      }, false));
      known = now;
    }
    if (!from) return put(body, h("p", { class: "quiet" }, "No run has a score yet."));
    const told = await get("rows/differences", { key, column: chosen.column, against: from, offset, limit: ROWS });
    if (!isNewest()) return;
    if (told.problem) return put(body, problem(told.problem));
    const head = ["Row", "Pairs", "Mean ± sd", "95 % interval", "p (Holm)", "Effect", stripHead("Single differences", told.domain, told.digits)];
    put(body, told.lines.length
      ? table(`${told.measure}: differences from ${from}, same split and seed`, head, told.lines.map((one) => line(one, told)), { className: "beside-rows cards", name: "row-differences", title: `recorded as ${told.key}` })
      : h("p", { class: "quiet" }, `No row shares a split and seed with ${from}.`),
    pager("differences", told, ROWS, (to) => { offset = to; refresh(); }), legend(told), notes(told.notes));
  }

  function line(row, told) {
    const text = (value) => signed(value, told.digits);
    const values = row.pairs.map((one) => one.difference);
    const label = `${row.row}: ${row.pairs.map((one) => `seed ${one.seed} ${text(one.difference)}`).join(", ")}`;
    const p = row.p_holm === null ? "–" : [row.p_holm < 0.001 ? "< 0.001" : row.p_holm.toFixed(3), row.stars ? ` ${row.stars}` : ""];
    return h("tr", null, h("th", { scope: "row" }, row.row),
      h("td", null, String(row.n)),
      h("td", null, text(row.mean), row.std === null ? "" : ` ± ${decimal(row.std, told.digits)}`, row.is_below_floor ? h("div", { class: "quiet" }, "no more than rounding does") : ""),
      value(range(row.ci_low, row.ci_high, text)),
      value(p),
      value(row.is_tested ? decimal(row.effect_size, 2) : "–"),
      h("td", { class: "strip-cell" }, strip(told.domain, { values, mean: row.mean, low: row.is_tested ? row.ci_low : null, high: row.ci_high }, label, lookOf(labels, row.row), true)));
  }

  function legend(told) {
    const untested = told.lines.some((one) => !one.is_tested) ? " Below five pairs nothing is tested: the dots are what there is." : "";
    return told.lines.length ? h("p", { class: "quiet" }, `Dots: pairs of one split and seed; bar: 95 % interval (t). p: exact sign-flip test, Holm's correction over all rows; effect: mean over sd of the differences.${untested}`) : "";
  }
  return { node: section("row-differences", "Paired differences", pick, body), refresh, first: () => { offset = 0; } };
}
