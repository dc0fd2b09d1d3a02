// The list: what needs a person first, then everything, newest first.

import * as api from "./api.js";
import { announce, every, h, heading, name, setText, sync, trouble } from "./dom.js";
import { cancelFolder } from "./decide.js";
import * as home from "./home.js";
import * as words from "./words.js";

const PAGE = 50;
const MOST_EMPTY_PAGES = 6;
const REFRESH_SECONDS = 4;
const FILTERS = ["status", "provider", "prefix", "q", "since", "until"];

let view = null;

export function show({ main, config, query }) {
  view = new List(main, config, query);
  return view.open();
}

/** The filters changed while the list is shown. */
export function change(query) {
  view.filter(query);
}

class List {
  constructor(main, config, query) {
    this.main = main;
    this.config = config;
    this.tasks = new Map();
    this.cursor = null;
    this.query = query;
    this.round = 0;
    this.first = h("ul", { class: "rows" });
    this.rows = h("ul", { class: "rows" });
    this.attention = h("section", { "aria-labelledby": "attention", hidden: true },
      h("h2", { id: "attention", class: "section" }), this.first);
    this.more = h("button", { type: "button", class: "button", hidden: true, onclick: () => this.older() }, "Show older");
    this.state = h("div");
    this.form = filters(query, config);
    this.folder = h("p", { class: "folder-bar", hidden: true },
      h("button", { type: "button", class: "button", onclick: () => this.cancel() }, "Cancel what was not sent"));
    main.append(
      h("div", { class: "head" }, heading("Videos"), home.may("make") && h("a", { class: "button primary", href: "#/new" }, "New video")),
      this.form,
      this.folder,
      this.attention,
      h("section", { "aria-label": "Videos, newest first" }, this.rows, this.state, h("div", { class: "center" }, this.more)),
    );
    this.form.addEventListener("input", () => this.typed());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    main.addEventListener("keydown", walk);
    this.leave = () => main.removeEventListener("keydown", walk);
  }

  async open() {
    this.state.replaceChildren(h("p", { class: "loading" }, "Loading…"));
    this.models = await api.models().catch(() => null);
    this.offer();
    const stop = every(REFRESH_SECONDS, () => this.refresh());
    await stop.first;
    return () => {
      stop();
      this.leave();
    };
  }

  /** The providers to filter by. */
  offer() {
    const select = this.form.elements.provider;
    for (const one of this.models?.providers || []) select.append(h("option", { value: one.provider }, one.provider));
    select.value = this.query.get("provider") || "";
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      const given = new URLSearchParams([...new FormData(this.form)].filter(([, value]) => value));
      history.replaceState(null, "", given.size ? `#/?${given}` : "#/");
      this.filter(given);
    }, 250);
  }

  filter(query) {
    this.query = query;
    for (const field of FILTERS) {
      const input = this.form.elements[field];
      if (input.value !== (query.get(field) || "")) input.value = query.get(field) || "";
    }
    this.tasks.clear();
    this.cursor = null;
    this.oldest = "";
    return this.refresh();
  }

  wanted(more = {}) {
    return { limit: String(PAGE), ...Object.fromEntries(FILTERS.map((one) => [one, this.query.get(one)])), ...more };
  }

  get filtered() {
    return FILTERS.some((one) => this.query.get(one));
  }

  async refresh() {
    const round = ++this.round;
    try {
      const [page, held] = await Promise.all([
        this.pages(""),
        this.filtered ? { tasks: [] } : api.page({ status: "HELD", limit: "20" }),
      ]);
      if (round !== this.round) return;
      if (!this.oldest) this.cursor = page.cursor;
      for (const one of page.tasks) this.tasks.set(one.task_id, one);
      this.draw(held.tasks);
    } catch (error) {
      if (round === this.round && !this.tasks.size) this.state.replaceChildren(trouble(error, () => this.refresh()));
    }
  }

  /** A page and those behind it while they are empty: with a filter the API answers in short pages. */
  async pages(cursor) {
    let page = await api.page(this.wanted({ cursor }));
    for (let turn = 0; turn < MOST_EMPTY_PAGES && page.cursor && !page.tasks.length; turn++) {
      page = await api.page(this.wanted({ cursor: page.cursor }));
    }
    return page;
  }

  async older() {
    if (this.loading) return;
    this.loading = true;
    try {
      const page = await this.pages(this.cursor);
      this.oldest = this.cursor;
      this.cursor = page.cursor;
      for (const one of page.tasks) this.tasks.set(one.task_id, one);
      this.draw(this.heldTasks);
      announce(`${page.tasks.length} more videos`);
      if (page.tasks.length) this.main.querySelector(`[data-key="${page.tasks[0].task_id}"] a`)?.focus();
    } catch (error) {
      announce(error.message);
    }
    this.loading = false;
  }

  draw(held) {
    this.heldTasks = held;
    const failed = this.filtered ? [] : [...this.tasks.values()].filter(failedLately);
    const first = [...held, ...failed];
    const above = new Set(first.map((one) => one.task_id));
    const below = [...this.tasks.values()].filter((one) => !above.has(one.task_id));
    below.sort((one, other) => (one.created_at < other.created_at ? 1 : -1));
    sync(this.first, first, (one) => one.task_id, (one) => row(one, this.models));
    sync(this.rows, below, (one) => one.task_id, (one) => row(one, this.models));
    this.attention.hidden = !first.length;
    setText(this.attention.firstChild, first.length === 1 ? "One needs a look" : `${first.length} need a look`);
    this.folder.hidden = !(home.may("decide") && this.query.get("prefix") && below.some((one) => ["WAITING", "READY"].includes(one.status)));
    this.more.hidden = !this.cursor;
    setText(this.more, below.length ? "Show older" : "Search further back");
    this.empty(below.length + first.length);
  }

  /** What is below the folder that is filtered for, and was not sent yet. */
  async cancel() {
    const result = await cancelFolder(this.query.get("prefix"));
    if (result) announce(result);
    await this.refresh();
  }

  empty(count) {
    const shown = count ? "" : this.filtered ? "none" : "first";
    if (this.state.dataset.shown === shown && !this.state.querySelector(".loading, [role=alert]")) return;
    this.state.dataset.shown = shown;
    this.state.replaceChildren(...(count ? [] : [this.filtered ? nothingFound() : welcome(this.config)]));
  }
}

const failedLately = (task) => task.status === "FAILED" && words.secondsSince(task.changed_at) < 86_400;

function filters(query, config) {
  const field = (label, input) => h("label", { class: "field" }, h("span", {}, label), input);
  const statuses = Object.entries(words.STATUSES).map(([value, text]) =>
    h("option", { value, selected: value === (query.get("status") || "").toUpperCase() }, text));
  const text = (field_, kind, more) => h("input", { name: field_, type: kind, value: query.get(field_) || "", autocomplete: "off", ...more });
  const more = h("details", { class: "more", open: ["provider", "prefix", "since", "until"].some((one) => query.get(one)) },
    h("summary", {}, "More filters"),
    h("div", { class: "filters" },
      field("Folder begins with", text("prefix", "text", { placeholder: "episode-12/" })),
      field("Provider", h("select", { name: "provider" }, h("option", { value: "" }, "Any"))),
      field("From", text("since", "date")), field("To", text("until", "date"))));
  return h("form", { class: "search", role: "search", "aria-label": "Videos" },
    h("div", { class: "filters" },
      field("Search", text("q", "search", { placeholder: "Name, prompt, error or id" })),
      field("Status", h("select", { name: "status" }, h("option", { value: "" }, "Any"), ...statuses))),
    more);
}

/** A task as a line; `update` writes what changed into it. */
function row(first, models) {
  const face = h("span", { class: "face" });
  const stem = name("", { class: "stem" });
  const folder = name("", { class: "folder" });
  const state = h("span", { class: "words" });
  const line = h("span", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }), state);
  const bar = h("span", { class: "bar-run", "aria-hidden": "true", hidden: true }, h("span"));
  const price = h("span", { class: "price" });
  const age = h("time", { class: "age" });
  const link = h("a", { class: "row", href: `#/tasks/${first.task_id}` },
    face, h("span", { class: "what" }, folder, stem, line, bar), h("span", { class: "side" }, price, age));
  const element = h("li", {}, link);
  element.update = (task) => {
    setText(stem, words.title(task));
    setText(folder, task.folder.replace(/\/$/, ""));
    folder.hidden = !task.folder;
    setText(state, words.status(task, models));
    link.dataset.tone = words.tone(task);
    const cost = words.cost(task);
    setText(price, cost === null || cost === undefined ? "" : words.usd(cost));
    setText(age, words.ago(task.created_at));
    age.dateTime = task.created_at;
    age.title = words.exact(task.created_at);
    const part = words.progress(task);
    bar.hidden = part === null;
    bar.firstChild.style.inlineSize = `${Math.round((part || 0) * 100)}%`;
    if (task.portrait?.key && !face.firstChild) face.append(portrait(task));
  };
  return element;
}

function portrait(task) {
  const image = h("img", { alt: "", loading: "lazy", decoding: "async", width: 56, height: 56 });
  home.show(image, "src", task.task_id, "portrait");
  image.addEventListener("error", () => image.remove());
  return image;
}

function nothingFound() {
  return h("div", { class: "empty" },
    h("p", { class: "empty-title" }, "Nothing matches"),
    h("p", {}, "No video here has that name, status or day."),
    h("a", { class: "button", href: "#/" }, "Clear the filters"));
}

function welcome(config) {
  return h("div", { class: "empty" },
    h("img", { src: "icon.svg", alt: "", width: 64, height: 64 }),
    h("p", { class: "empty-title" }, "No videos yet"),
    h("p", {}, home.may("make") ? "Drop a face and a voice, see the price, and press the button." : "They are shown here when a maker has made some."),
    home.may("make") && h("a", { class: "button primary", href: "#/new" }, config.samples ? "Make the first, with a sample or your own files" : "Make the first"));
}

/** The arrow keys move from line to line. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const rows = [...document.querySelectorAll("a.row")];
  const at = rows.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  rows[Math.min(rows.length - 1, Math.max(0, at + step))].focus();
}
