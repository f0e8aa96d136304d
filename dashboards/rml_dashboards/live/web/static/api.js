// Asking the server. Without its token a person is asked for it; it goes in a header, never in an address.

import { address, h } from "./dom.js";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function get(name, parameters = {}) {
  const answer = await fetch(address(`/api/${name}`, parameters), { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  const told = await answer.json();
  begun ??= told.version;
  return told;
}

let begun;

/** The version of the first answer, which what is shown first is at least as old as. */
export function firstVersion() {
  return begun;
}

async function reason(answer) {
  const text = await answer.text();
  try {
    const value = JSON.parse(text);
    if (typeof value.problem === "string") return value.problem;
    return typeof value.detail === "string" ? value.detail : text;
  } catch {
    return text;
  }
}

async function login(token) {
  const answer = await fetch("/api/login", { credentials: "same-origin", headers: { Authorization: `Bearer ${token}` } });
  return answer.ok;
}

/** Take the token out of the address, where the printed one carries it behind `#`. */
export async function enter() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  await login(decodeURIComponent(found[1]));
}

/** A form for the token; `then` is called once it was the right one. */
export function tokenForm(then) {
  const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const said = h("p", { role: "alert", class: "problem" });
  const form = h("form", { class: "token", onsubmit: async (event) => {
    event.preventDefault();
    if (await login(field.value.trim())) then();
    else said.textContent = "That is not the token.";
  } },
  h("h1", null, "This page needs a token"),
  h("p", null, "The server printed it when it was started."),
  h("label", { for: "token" }, "Token"), field, h("button", { type: "submit" }, "Open"), said);
  return form;
}
