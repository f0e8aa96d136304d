// The two runs that a person has picked to compare, kept while the tab is open.

import { address, h, put } from "./dom.js";

const KEY = "rml-compare";

export function picked() {
  try {
    const value = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter((one) => typeof one === "string").slice(0, 2) : [];
  } catch {
    return [];
  }
}

function keep(runs) {
  sessionStorage.setItem(KEY, JSON.stringify(runs));
  show();
  for (const box of document.querySelectorAll("input[data-pick]")) box.checked = runs.includes(box.dataset.pick);
}

/** A box that picks a run; of three the first one is let go. */
export function pickBox(runId) {
  const box = h("input", { type: "checkbox", "data-pick": runId, "data-focus": `pick ${runId}`, "aria-label": `compare ${runId}`,
    onchange: () => keep(box.checked ? [...picked(), runId].slice(-2) : picked().filter((one) => one !== runId)) });
  box.checked = picked().includes(runId);
  return box;
}

export function show() {
  const runs = picked();
  const place = document.getElementById("basket");
  place.hidden = !runs.length;
  document.body.classList.toggle("has-basket", runs.length > 0);
  const [a, b] = runs;
  put(place,
    h("p", null, "Compare: ", runs.map((run) => h("code", null, run)), runs.length === 1 ? " – pick a second run" : ""),
    runs.length === 2 ? h("a", { class: "button", "data-focus": "compare", href: address("/compare", { a, b }) }, "Compare") : "",
    h("button", { type: "button", "data-focus": "clear", onclick: () => keep([]) }, "Clear"));
}
