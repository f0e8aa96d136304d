// The same image as every row sees it: image and truth once, then what each row predicts.

import { get } from "./api.js";
import { address, h, link, put } from "./dom.js";
import { newest } from "./events.js";
import { pager } from "./pager.js";
import { section } from "./run.js";
import { choice } from "./runs.js";
import { word } from "./text.js";

const ROWS = 24;
const PANELS = ["image", "truth", "prediction"];

export function rowPictures({ key, chosen, keep }) {
  const pick = h("div", { class: "filters" });
  const body = h("div");
  let offset = 0;
  let known = "";
  let shown = "";
  const ask = newest();

  async function refresh() {
    const isNewest = ask();
    const told = await get("rows/pictures", { key, column: chosen.column, seed: /^\d+$/.test(chosen.seed) ? chosen.seed : "", offset, limit: ROWS });
    if (!isNewest()) return;
    const image = told.names.includes(chosen.image) ? chosen.image : told.names[0] ?? "";
    choices(told, image);
    const now = JSON.stringify([told.rows, image, told.is_same_data, offset, chosen.column]);
    if (now === shown) return;
    shown = now;
    if (!image) return put(body, h("p", { class: "quiet" }, !told.seeds.length ? "The study has no run in this column." : `No run of seed ${told.seed} has left pictures in its folder here.`));
    const first = told.rows.find((one) => one.pictures.includes(image));
    put(body, told.is_same_data ? "" : h("p", { class: "problem" }, "The rows have seen different data; pictures of one name need not show the same image."),
      h("ul", { class: "panels" }, [0, 1].map((panel) => one(first, image, panel, h("span", { class: "quiet" }, PANELS[panel]), `${image}: ${PANELS[panel]}`)),
        told.rows.map((row) => (row.pictures.includes(image)
          ? one(row, image, 2, link("/run", { id: row.run_id, focus: `picture ${row.label}` }, row.label), `${image} as ${row.label} predicts it`)
          : h("li", { class: "panel" }, h("p", { class: "none quiet" }, row.pictures.length ? "not this image" : `no picture: ${word(row.state)}`), h("p", null, row.label))))),
      pager("pictures", told, ROWS, (to) => { offset = to; refresh(); }));
  }

  function choices(told, image) {
    const now = JSON.stringify([told.names, image, told.seeds, told.seed]);
    if (now === known) return;
    known = now;
    const take = (name, value) => {
      chosen[name] = value;
      keep();
      refresh();
    };
    put(pick, told.names.length ? choice("image", "Image", told.names.map((one) => [one, one]), { image }, take, false) : "",
      told.seeds.length > 1 ? choice("seed", "Runs of seed", told.seeds.map((one) => [String(one), String(one)]), { seed: String(told.seed) }, take, false) : "");
  }
  return { node: section("row-pictures", "The same image as every row sees it", pick, body), refresh, first: () => { offset = 0; } };
}

/** One of the three panels that stand side by side in a recorded picture. */
function one(row, image, panel, title, alt) {
  return h("li", { class: "panel" }, h("div", { class: `crop ${PANELS[panel]}` },
    h("img", { src: address("/api/picture", { id: row.run_id, name: image }), alt })), h("p", null, title));
}
