// Which page this is, and the news that keep it fresh.

import { enter, firstVersion, Refused, tokenForm } from "./api.js";
import { show as showBasket } from "./basket.js";
import { comparison } from "./compare.js";
import { h, put } from "./dom.js";
import { again, listen, oneAtATime } from "./events.js";
import { rows } from "./rows.js";
import { run } from "./run.js";
import { studies } from "./studies.js";
import { study } from "./study.js";

const PAGES = { "/": studies, "/study": study, "/rows": rows, "/run": run, "/compare": comparison };
const content = document.getElementById("content");
const linkText = document.getElementById("link");
const wrong = document.getElementById("wrong");

function problem(error) {
  const isAbsent = error instanceof Refused && error.status === 404;
  put(content, h("h1", null, isAbsent ? "Not here" : "Something is wrong"),
    h("p", { role: "alert", class: "problem" }, error.message), h("p", null, h("a", { href: "/" }, "All studies")));
}

function crumbs(items) {
  put(document.getElementById("crumbs"), items.map(([text, href]) => h("li", null, href ? h("a", { href }, text) : h("span", { "aria-current": "page" }, text))));
  document.title = [...items.map(([text]) => text).reverse(), "rml"].join(" · ");
}

function heard(isHeard) {
  linkText.className = `link ${isHeard ? "on" : "off"}`;
  linkText.textContent = isHeard ? "● live" : "○ not connected, trying again";
}

/** What a server that cannot read for a moment says, above what it said before. */
function passing(text) {
  if (wrong.textContent !== text) wrong.textContent = text;
  wrong.hidden = !text;
}

const isPassing = (error) => error instanceof Refused && error.status >= 500;
const openAgain = again(open);

async function open() {
  const page = PAGES[location.pathname];
  if (!page) return problem(new Refused(404, "There is no such page."));
  try {
    const shown = await page({ content, crumbs, parameters: new URLSearchParams(location.search) });
    let waiting = [];
    const tried = again(() => refresh());
    const refresh = oneAtATime(async () => {
      const news = waiting;
      waiting = [];
      try {
        await shown.refresh(news);
        passing("");
      } catch (error) {
        if (isPassing(error)) {
          passing(error.message);
          waiting.unshift(...news);
        } else if (!(error instanceof TypeError)) problem(error);
        else heard(false);
      }
      tried(waiting.length > 0);
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    const hear = (news) => {
      waiting.push(news);
      refresh();
    };
    listen(firstVersion(), hear, heard);
    // A page of a table, a filter or a curve that was asked for and did not come: asked for again, and said if it is still wrong.
    addEventListener("unhandledrejection", (event) => {
      if (event.reason instanceof Refused) event.preventDefault();
      hear({ runs: [], studies: [], plans: true, isAll: true });
    });
    showBasket();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      put(content, tokenForm(() => { put(content, h("p", null, "Loading …")); open(); }));
      document.getElementById("token").focus();
    } else {
      problem(error);
      openAgain(isPassing(error));
    }
  }
}

await enter();
await open();
