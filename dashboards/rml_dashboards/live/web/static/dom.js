// Elements from plain values. Data enters the page as text and attributes only, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Text that only a screen reader says. */
export function spoken(text) {
  return h("span", { class: "spoken" }, text);
}

/** Put new children into a node, and keep focus, scrolling and opened details where they were. */
export function put(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scrolled = [...node.querySelectorAll("[data-scroll]")].map((one) => [one.dataset.scroll, one.scrollLeft, one.scrollTop]);
  const opened = new Set([...node.querySelectorAll("details[open][data-focus]")].map((one) => one.dataset.focus));
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  for (const [key, left, top] of scrolled) {
    const found = node.querySelector(`[data-scroll="${CSS.escape(key)}"]`);
    if (found) [found.scrollLeft, found.scrollTop] = [left, top];
  }
  for (const key of opened) {
    const found = node.querySelector(`details[data-focus="${CSS.escape(key)}"]`);
    if (found) found.open = true;
  }
  if (focused) node.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** A table that scrolls by itself where it is wider than the page; the region takes the keyboard. */
export function table(caption, head, rows, { name, className = "", hideCaption = false, title = null } = {}) {
  const region = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption, "data-scroll": name ?? caption },
    h("table", { class: className },
      h("caption", { class: hideCaption ? "spoken" : null, title }, caption),
      h("thead", null, h("tr", null, head.map((cell) => (cell instanceof Node ? h("th", { scope: "col" }, cell) : h("th", { scope: "col" }, String(cell)))))),
      h("tbody", null, rows)));
  if (className.includes("cards")) likeCards(region.querySelector("table"), head);
  return region;
}

/** On a narrow window each row is a card; roles keep it a table for screen readers. */
function likeCards(node, head) {
  node.setAttribute("role", "table");
  for (const part of node.querySelectorAll("thead, tbody")) part.setAttribute("role", "rowgroup");
  for (const row of node.querySelectorAll("tr")) row.setAttribute("role", "row");
  for (const cell of node.querySelectorAll("thead th")) cell.setAttribute("role", "columnheader");
  for (const row of node.querySelectorAll("tbody tr")) {
    [...row.cells].forEach((cell, place) => {
      cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
      if (place && row.cells.length === head.length) cell.dataset.label ??= head[place].dataset?.label ?? head[place];
    });
  }
}

export function link(path, parameters, ...children) {
  const { focus, ...rest } = parameters;
  return h("a", { href: address(path, rest), "data-focus": focus }, ...children);
}

export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) query.append(name, one);
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
