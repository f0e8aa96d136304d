"use strict";
// Which runs are shown, by text, state, row and column; the other tables show the rows that have
// such a run. Of thousands of runs a page has no more than AT_ONCE until somebody asks for more.
const AT_ONCE = 100;
const CHOICES = ["row", "column", "state"];

const made = (tag, attributes = {}, ...inside) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...inside);
  return node;
};
const plain = (text) => text.trim().replace(/\s+/g, " ");
const whole = (number) => number.toLocaleString("en");

const runsOf = (table) => [...table.tBodies[0].rows].map((line) => {
  const [row, column, seed, state, ...others] = [...line.cells].map((cell) => plain(cell.textContent));
  const own = { line, row, column, state: state.split(",")[0] };
  own.text = [row, column, `seed ${seed}`, `seed=${seed}`, state, ...others].join("\n").toLowerCase();
  return own;
});

const linesOf = (section) => [...section.querySelectorAll("table.matrix, .view > .scroll > table")]
  .flatMap((table) => [...table.tBodies[0].rows])
  .map((line) => ({ line, isGroup: line.classList.contains("group"), row: plain(line.cells[0].textContent) }));

const field = (id, label, input) => made("div", { class: "field" }, made("label", { for: id }, label), input);

const filterOf = (section, table) => {
  const runs = runsOf(table);
  const lines = linesOf(section);
  const said = made("p", { role: "status", class: "count note" });
  const more = made("button", { type: "button", class: "more" });
  const text = made("input", { type: "search", id: `${section.id}-text`, placeholder: "run, seed, protocol, code" });
  const selects = CHOICES.map((name) => {
    const values = [...new Set(runs.map((run) => run[name]))];
    const id = `${section.id}-${name}`;
    return made("select", { id }, made("option", { value: "" }, "all"), ...values.map((value) => made("option", { value }, value)));
  });
  let limit = AT_ONCE;

  const show = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (run) => CHOICES.every((name, place) => ["", run[name]].includes(selects[place].value))
      && words.every((word) => run.text.includes(word));
    const found = runs.filter(fits);
    const kept = new Set(found.slice(0, limit));
    for (const run of runs) run.line.hidden = !kept.has(run);
    const rows = new Set(found.map((run) => run.row));
    const isWhole = found.length === runs.length;
    let group;
    for (const one of lines) {
      one.line.hidden = !isWhole && !rows.has(one.row);
      if (one.isGroup) group = one.line;
      else if (group && !one.line.hidden) group.hidden = false;
    }
    const count = isWhole ? `${whole(runs.length)} runs` : `${whole(found.length)} of ${whole(runs.length)} runs`;
    if (said.textContent !== count) said.textContent = count;
    more.hidden = found.length <= limit;
    more.textContent = `Show ${whole(Math.min(AT_ONCE, found.length - limit))} more of ${whole(found.length - limit)}`;
  };
  const again = () => {
    limit = AT_ONCE;
    show();
  };

  const form = made("form", { class: "filters", role: "search", "aria-label": "Filter runs" },
    ...CHOICES.map((name, place) => field(selects[place].id, name[0].toUpperCase() + name.slice(1), selects[place])),
    field(text.id, "Text", text), made("button", { type: "reset" }, "Show all"));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", again);
  form.addEventListener("reset", () => setTimeout(again));
  more.addEventListener("click", () => {
    limit += AT_ONCE;
    show();
  });
  section.querySelector(".lazy").before(form, said);
  table.closest(".scroll").after(more);
  show();
  // A number leads to its first run, which may be one that is not shown.
  return (line) => {
    const place = runs.findIndex((run) => run.line === line);
    if (place < 0 || !line.hidden) return;
    for (const input of [...selects, text]) input.value = "";
    limit = Math.max(AT_ONCE, place + AT_ONCE);
    show();
  };
};

const unhide = [...document.querySelectorAll("section.study")].flatMap((section) => {
  const table = section.querySelector(".view-mean details table.runs");
  return table ? [filterOf(section, table)] : [];
});
