// One study: progress, matrix of cells, results, failures, and its runs with filters.

import { get } from "./api.js";
import { h, link, put, table } from "./dom.js";
import { again, newest } from "./events.js";
import { failures } from "./failures.js";
import { pager } from "./pager.js";
import { runList, value } from "./runs.js";
import { problems } from "./studies.js";
import { bar, duration, left, state, states, whole, word } from "./text.js";

const ROWS = 50;
const LINES = 100;

export async function study({ content, crumbs, parameters }) {
  const key = parameters.get("key") ?? "";
  const head = await get("study", { key });
  crumbs([["Studies", "/"], [key, null]]);
  const jumps = h("nav", { class: "jumps", "aria-label": "Sections" });
  const [summary, cells, scores] = [top(key, head), matrix(key), results(key)];
  const failed = failures(key, (num) => put(jumps, [["Cells", "#cells"], ["Results", "#results"], ...(num ? [[`Failures (${whole(num)})`, "#failures"]] : []), ["Runs", "#runs"], ["Settings", "#about"]]
    .map(([text, href]) => h("a", { href, "data-focus": href }, text))));
  const below = [failed, runList(key, head, parameters), about(head)];
  const parts = [summary, cells, scores, ...below];
  put(content, h("h1", null, key), head.title && head.title !== head.name ? h("p", { class: "title" }, head.title) : "",
    summary.node, jumps, h("div", { class: "sections" }, cells.node, scores.node), below.map((part) => part.node));
  const fresh = async () => { for (const part of parts) await part.refresh(); };
  await fresh();
  if (location.hash) document.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)?.scrollIntoView();
  return {
    refresh: async (news) => {
      if (news.some((one) => one.isAll || one.plans || one.studies.includes(key))) await fresh();
    },
  };
}

function top(key, head) {
  const said = h("p", { role: "status", class: "spoken" });
  const body = h("div", { class: "summary" });
  return {
    node: h("div", null, said, body),
    refresh: async () => {
      const now = await get("study", { key });
      const { progress } = now;
      const text = Object.entries(progress.counts).map(([name, count]) => `${whole(count)} ${word(name)}`).join(", ");
      if (said.textContent !== text) said.textContent = text;
      put(body, problems(now.problems), bar(progress.fraction, "progress of the whole study"), states(progress.counts),
        h("p", null, `${whole(progress.runs)} runs for ${whole(head.num_cells)} cells.`,
          left(progress) === "–" ? "" : [" Left: ", h("strong", null, left(progress)), progress.eta_seconds === null ? "" : ` (${duration(progress.left_seconds)} of runs)`, "."]));
    },
  };
}

function matrix(key) {
  const body = h("div");
  let offset = 0;
  const ask = newest();
  async function refresh() {
    const isNewest = ask();
    const told = await get("matrix", { key, offset, limit: ROWS });
    if (!isNewest()) return;
    put(body,
      table("State of every cell, by row and column", ["Row", ...told.columns, "Progress", "Left"], rows(key, told), { className: "matrix cards" }),
      pager("rows", told, ROWS, (to) => { offset = to; refresh(); }));
  }
  return { node: h("section", { id: "cells", "aria-labelledby": "cells-title" }, h("h2", { id: "cells-title" }, "Cells"), body), refresh };
}

function rows(key, told) {
  let group = "";
  return told.rows.flatMap((row) => {
    const line = h("tr", null, h("th", { scope: "row" }, row.label),
      row.cells.map((cell, place) => h("td", null, cell ? cellLink(key, row.label, told.columns[place], cell) : h("span", { class: "quiet" }, "not asked for"))),
      h("td", { class: row.progress.fraction === 1 ? "told" : null }, bar(row.progress.fraction, `progress of ${row.label}`)), value(left(row.progress, true)));
    if (!row.group || row.group === group) return [line];
    group = row.group;
    return [h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: told.columns.length + 3 }, group)), line];
  });
}

function cellLink(key, row, column, cell) {
  const focus = `cell ${row} ${column}`;
  if (cell.run_id) return link("/run", { id: cell.run_id, focus }, Object.keys(cell.counts).map((name) => state(name)));
  const made = link("/study", { key, row, column, focus }, states(cell.counts));
  made.href += "#runs";
  return made;
}

function results(key) {
  const body = h("div");
  const tried = again(() => refresh());
  let offset = 0;
  const ask = newest();
  async function refresh() {
    const isNewest = ask();
    const told = await get("table", { key, offset, limit: LINES });
    if (!isNewest()) return;
    tried(told.problem !== "" || told.warnings.length > 0);
    if (told.problem) return put(body, h("p", { class: "problem" }, told.problem));
    const lines = told.lines.map((line) => {
      if (line[0][0] === "group") return h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: told.header.length }, line[0][1]));
      return h("tr", null, line.map(([kind, text], place) => (place ? h("td", null, kind === "best" ? h("strong", null, text) : kind === "second" ? h("u", null, text) : text) : h("th", { scope: "row" }, text))));
    });
    put(body, table(told.title || "Results", told.header, lines, { name: "results" }), pager("lines", told, LINES, (to) => { offset = to; refresh(); }),
      told.caption ? h("p", null, told.caption) : "", h("p", { class: "quiet" }, told.legend.replaceAll("`", "")),
      told.notes.length ? h("ol", { class: "notes" }, told.notes.map((note) => h("li", null, note))) : "",
      told.warnings.length ? h("ul", { class: "problem" }, told.warnings.map((text) => h("li", null, text))) : "");
  }
  const beside = h("p", null, link("/rows", { key, focus: "rows" }, "Rows beside each other"), ": curves over seeds, single scores, paired differences, the same images.");
  return { node: h("section", { id: "results", "aria-labelledby": "results-title" }, h("h2", { id: "results-title" }, "Results"), beside, body), refresh };
}

function about(head) {
  const facts = [["Study file", head.source], ["Planned", head.written_at], ["Code", head.code_version], ["Changed by --set", head.overrides.join(", ")]];
  const body = [
    head.description ? h("p", { class: "description" }, head.description) : "",
    h("dl", null, facts.filter(([, text]) => text).map(([name, text]) => [h("dt", null, name), h("dd", null, text)])),
    head.warnings.length ? h("ul", null, head.warnings.map((text) => h("li", null, text))) : "",
    table("Settings that all runs share and that are not the default", ["Setting", "Value"],
      Object.entries(head.settings).map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, typeof value === "string" ? value : JSON.stringify(value))))),
  ];
  return {
    node: h("section", { id: "about", "aria-labelledby": "about-title" }, h("h2", { id: "about-title" }, "About the study"), h("details", null, h("summary", null, "Settings and origin"), body)),
    refresh: async () => {},
  };
}
