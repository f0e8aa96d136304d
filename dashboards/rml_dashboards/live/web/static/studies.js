// The list of studies.

import { get } from "./api.js";
import { h, link, put, table } from "./dom.js";
import { bar, left, states, whole } from "./text.js";

export async function studies({ content, crumbs }) {
  crumbs([["Studies", null]]);
  const body = h("div");
  const said = h("p", { role: "status", class: "spoken" });
  put(content, h("h1", null, "Studies"), said, body);

  async function refresh() {
    const told = await get("studies");
    const done = told.studies.reduce((sum, one) => sum + (one.progress.counts.done ?? 0), 0);
    const all = told.studies.reduce((sum, one) => sum + one.progress.runs, 0);
    const text = `${whole(done)} of ${whole(all)} runs done`;
    if (said.textContent !== text) said.textContent = text;
    put(body, problems(told.problems),
      told.studies.length
        ? table("Studies and how far they are", ["Study", "Cells", "Runs", "Progress", "Left"], told.studies.map(row), { hideCaption: true, className: "studies cards" })
        : h("p", null, "No study has been planned here yet: ", h("code", null, "rml plan STUDY.yaml"), "."));
  }

  await refresh();
  return { refresh };
}

function row(one) {
  return h("tr", null,
    h("th", { scope: "row" }, link("/study", { key: one.key, focus: one.key }, one.key), one.title && one.title !== one.name ? h("div", { class: "quiet" }, one.title) : ""),
    h("td", null, `${whole(one.num_rows)} × ${whole(one.num_columns)}`),
    h("td", null, states(one.progress.counts)),
    h("td", null, bar(one.progress.fraction, `progress of ${one.key}`)),
    h("td", null, left(one.progress, true)));
}

export function problems(texts) {
  return texts.length ? h("ul", { class: "problem", role: "alert" }, texts.map((text) => h("li", null, text))) : "";
}
