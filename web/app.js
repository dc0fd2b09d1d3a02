// Which view is shown: the part of the address behind its # names it.

import * as api from "./api.js";
import { announce, every, h, heading, setText, trouble } from "./dom.js";
import * as home from "./home.js";
import { usd } from "./words.js";
import * as list from "./list.js";
import * as task from "./task.js";
import * as create from "./new.js";
import * as health from "./health.js";
import * as rehearsal from "./rehearsal.js";

const VIEWS = { "": list, tasks: task, new: create, health, rehearsal };
const LINKS = [["#/", "Videos"], ["#/new", "New"], ["#/health", "Health"], ["#/rehearsal", "Rehearsal"]];

const main = document.getElementById("main");
let leave = () => {};
let config = {};
let opened = "";

async function show() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id = ""] = path.split("/");
  const module = VIEWS[view] || list;
  if (opened === `${view}/${id}` && module.change) {
    module.change(new URLSearchParams(query));
    return;
  }
  const moved = opened !== "";
  opened = `${view}/${id}`;
  leave();
  leave = () => {};
  main.replaceChildren();
  mark(view);
  const context = { main, config, id: decodeURIComponent(id), query: new URLSearchParams(query) };
  const ended = await module.show(context);
  if (opened !== `${view}/${id}`) ended?.();
  else leave = ended || leave;
  const title = main.querySelector("h1");
  document.title = title ? `${title.textContent} · Talkdrop` : "Talkdrop";
  if (moved) {
    title?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function mark(view) {
  for (const link of document.querySelectorAll("#nav a")) {
    const here = link.getAttribute("href") === `#/${view === "tasks" ? "" : view}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function spend() {
  const place = document.getElementById("spend");
  try {
    const found = await api.health();
    const today = found.budgets.find((one) => one.period.length > 7) || found.budgets[0];
    const attention = found.status !== "ok";
    place.hidden = !today && !attention;
    place.classList.toggle("attention", attention);
    const money = today ? `${usd(today.spent_usd)} of ${usd(today.cap_usd)} today` : "";
    setText(place, [money, attention && "needs a look"].filter(Boolean).join(" · "));
  } catch (error) {
    if (error.status) notice(error.message);
  }
}

function notice(text) {
  const place = document.getElementById("notice");
  place.hidden = !text;
  setText(place, text);
}

/** Who acts here, and the way out; the API's reference needs a signature, which no link carries. */
function signedIn(person) {
  if (!person) return;
  document.getElementById("reference").replaceWith(h("span", {}, person.name, person.group && `, ${person.group}`, " · ",
    h("button", { type: "button", class: "quiet-button", onclick: home.signOut }, "Sign out")));
}

async function start() {
  addEventListener("reached", (event) => notice(event.detail));
  try {
    config = await api.config();
  } catch (error) {
    main.replaceChildren(heading("Talkdrop"), trouble(error, () => location.reload()));
    return;
  }
  const hidden = { "#/rehearsal": !config.rehearsal, "#/new": !home.may("make") };
  const links = LINKS.filter(([to]) => !hidden[to]);
  document.getElementById("nav").append(...links.map(([to, text]) => h("a", { href: to }, text)));
  setText(document.getElementById("where"), config.embedded
    ? "Embedded run on this machine, simulated providers"
    : `${config.stack} in ${config.region}`);
  signedIn(home.person());
  addEventListener("hashchange", show);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opened.startsWith("tasks/") && !document.querySelector("dialog[open]")) {
      location.hash = "#/";
    }
  });
  await show();
  announce("");
  every(15, spend);
}

start();
