// Steps through a long list of which only one page is there.

import { h } from "./dom.js";
import { whole } from "./text.js";

/** Buttons for the pages of a list; nothing where it has only one. */
export function pager(what, { offset, total }, size, go) {
  if (total <= size && offset === 0) return "";
  const end = Math.min(total, offset + size);
  const button = (text, to, isOn) => h("button", { type: "button", "data-focus": `${what} ${text}`, "aria-disabled": isOn ? null : "true", onclick: () => isOn && go(to) }, text);
  return h("nav", { class: "pager", "aria-label": `Pages of ${what}` },
    button("First", 0, offset > 0), button("Previous", Math.max(0, offset - size), offset > 0),
    h("span", { role: "status" }, total ? `${whole(offset + 1)} to ${whole(end)} of ${whole(total)}` : "none"),
    button("Next", offset + size, end < total), button("Last", Math.floor(Math.max(0, total - 1) / size) * size, end < total));
}
