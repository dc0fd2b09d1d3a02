// One task: its video, its way, its money, and what may be done.

import * as api from "./api.js";
import { announce, every, h, heading, name, setText, sync, trouble } from "./dom.js";
import { decide } from "./decide.js";
import * as home from "./home.js";
import * as words from "./words.js";

const REFRESH_SECONDS = 2;
const VERBS = { cancel: "Cancel", adopt: "Adopt a job", resubmit: "Send again", fail: "Give up" };

export async function show({ main, config, id }) {
  const view = new View(main, config, id);
  const stop = every(REFRESH_SECONDS, () => view.refresh());
  await stop.first;
  return stop;
}

class View {
  constructor(main, config, id) {
    this.main = main;
    this.config = config;
    this.id = id;
    main.append(h("p", { class: "loading" }, "Loading…"));
  }

  async refresh() {
    if (this.task && words.RESTING.has(this.task.status) && this.task.status !== "HELD" && this.settled) return;
    try {
      this.models ||= await api.models().catch(() => null);
      const found = await api.task(this.id);
      const news = this.task && this.task.status !== found.status;
      this.settled = this.task?.status === found.status;
      this.task = found;
      if (!this.body) this.build();
      this.draw();
      if (news) announce(`${words.title(found)}: ${words.status(found, this.models)}`);
      if (this.config.rehearsal) await this.charges();
    } catch (error) {
      if (!this.body) this.main.replaceChildren(trouble(error, () => this.refresh()));
    }
  }

  build() {
    this.status = h("p", { class: "lead" }, h("span", { class: "dot", "aria-hidden": "true" }), h("span"));
    this.stage = h("div", { class: "stage" });
    this.voice = h("div", { class: "voice" });
    this.links = h("div", { class: "buttons" });
    this.verbs = h("ul", { class: "verbs" });
    this.actions = card("What you can do", this.verbs);
    this.actions.classList.add("decisions");
    this.facts = h("dl", { class: "facts" });
    this.money = h("dl", { class: "facts" });
    this.way = h("ol", { class: "way" });
    const folder = this.task.folder.replace(/\/$/, "");
    this.body = h("article", { class: "task" },
      h("p", { class: "back" }, h("a", { href: "#/" }, "Videos"),
        folder && [" / ", h("a", { href: `#/?${new URLSearchParams({ prefix: this.task.folder })}` }, name(folder))]),
      h("div", { class: "head" }, heading(name(words.title(this.task)))),
      this.status,
      this.actions,
      h("div", { class: "columns" },
        h("div", { class: "left" }, this.stage, this.links, this.voice),
        h("div", { class: "right" }, card("Its way", this.way), card("Money", this.money), card("Details", this.facts), this.manifest())));
    this.main.replaceChildren(this.body);
  }

  draw() {
    const task = this.task;
    this.body.dataset.tone = words.tone(task);
    setText(this.status.lastChild, sentence(words.status(task, this.models)));
    this.player();
    this.drawVerbs();
    this.drawWay();
    facts(this.money, [
      ["Quote", words.usd(task.quote_usd)],
      ["Charged", task.charge_usd === null ? paidWords(task) : words.usd(task.charge_usd)],
      this.ledger && ["At the provider", this.ledger],
    ]);
    facts(this.facts, [
      ["Provider", `${task.provider}${task.model ? `, ${task.model}` : ""}`],
      ["Why this model", task.model_reason],
      ["Prompt", task.prompt && name(task.prompt)],
      ["Settings", Object.entries(task.settings || {}).map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")],
      ["Voice", task.audio?.seconds && `${words.span(task.audio.seconds)}`],
      ["Attempt", task.attempt > 1 && task.attempt],
      ["Consent", consent(task.consent)],
      ["Watermark", task.watermark],
      ["Beware", task.video?.warning],
      ["Job named", lookup(task)],
      ["Asked for", words.exact(task.created_at)],
      ["Task", h("code", {}, task.task_id)],
    ]);
  }

  /** The video when it is there; the portrait until then. */
  player() {
    const { task_id: id, video, portrait, audio } = this.task;
    const kind = video ? "video" : portrait?.key ? "portrait" : "none";
    if (this.stage.dataset.kind !== kind) {
      this.stage.dataset.kind = kind;
      this.stage.replaceChildren(stage(kind, id, words.title(this.task)));
      this.links.replaceChildren(...(video ? [
        home.saves(h("a", { class: "button primary", download: `${words.title(this.task)}.mp4` }, `Download, ${words.bytes(video.bytes)}`), id, "video"),
      ] : []));
    }
    if (audio?.key && !this.voice.firstChild) {
      const player = h("audio", { controls: true, preload: "none", "aria-label": "The voice" });
      home.show(player, "src", id, "voice");
      this.voice.append(h("h2", { class: "section" }, "The voice"), player);
    }
  }

  drawVerbs() {
    const allowed = home.may("decide") ? Object.entries(this.task.actions) : [];
    this.actions.hidden = !allowed.length;
    sync(this.verbs, allowed, ([verb]) => verb, ([verb]) => {
      const risk = h("span", { class: "risk" });
      const button = h("button", { type: "button", class: `button ${verb === "cancel" ? "" : "careful"}`, onclick: () => this.act(verb) }, VERBS[verb] || verb);
      const line = h("li", {}, button, risk);
      line.update = ([, words_]) => setText(risk, sentence(words_ || "nothing is known to speak against it"));
      return line;
    });
  }

  async act(verb) {
    const result = await decide(this.task, verb, VERBS[verb] || verb);
    if (!result) return;
    announce(sentence(result));
    this.settled = false;
    await this.refresh();
  }

  drawWay() {
    const past = (this.task.history || [])
      .filter((line, at, all) => line.why || line.what !== all[at - 1]?.what)
      .map((line, at) => ({ ...line, key: `${at}${line.what}` }));
    const coming = words.next(this.task, this.models);
    const lines = coming ? [...past, { key: "next", coming }] : past;
    sync(this.way, lines, (line) => line.key, (line) => (line.coming ? ahead() : behind(line)));
  }

  /** In the embedded run: what the simulated provider charged for this task. */
  async charges() {
    const found = this.task.pieces ? null : await api.ledger().catch(() => null);
    if (!found) return;  // of a long voice each piece has its line, under an id of its own
    const lines = found.charges.filter((one) => one.callback_url.includes(this.id) && one.amount > 0);
    this.ledger = lines.length === 1 ? "charged once, by the simulator’s ledger" : lines.length ? `charged ${lines.length} times!` : "no charge in the simulator’s ledger";
    this.draw();
  }

  manifest() {
    const text = h("pre", { tabindex: "0", "aria-label": "Manifest" }, "Loading…");
    const box = h("details", { class: "card" }, h("summary", {}, "Manifest"), text);
    box.addEventListener("toggle", async () => {
      if (!box.open) return;
      try {
        setText(text, JSON.stringify(await api.manifest(this.id), null, 2));
      } catch (error) {
        setText(text, error.message);
      }
    });
    return box;
  }
}

function consent(given) {
  if (!given?.who) return "";
  return name(`${given.who}: ${given.scope || "agreed"}${given.until ? `, until ${given.until}` : ""}`);
}

/** A job that a person named: the provider is asked for it before it counts. */
function lookup({ lookup: found, provider }) {
  return found && name(`${found.job_id}: ${found.refusal || `${provider} is being asked for it`}`);
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function paidWords(task) {
  if (["WAITING", "READY", "CANCELLED", "EXPIRED"].includes(task.status)) return "nothing";
  if (task.status === "IN_PIECES") return "each piece by itself";
  return "the provider does not say";
}

function card(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), ...children);
}

function facts(list, lines) {
  const shown = lines.filter((line) => line && line[1]);
  const now = shown.map(([label, value]) => `${label}:${value.textContent ?? value}`).join("\n");
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  list.replaceChildren(...shown.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))));
}

function stage(kind, id, title) {
  if (kind === "video") {
    const player = h("video", { controls: true, playsinline: true, preload: "metadata", "aria-label": `Video: ${title}` });
    home.show(player, "poster", id, "portrait");
    home.show(player, "src", id, "video");
    return player;
  }
  if (kind === "portrait") {
    const picture = h("img", { alt: "The portrait" });
    home.show(picture, "src", id, "portrait");
    return picture;
  }
  return h("p", { class: "quiet" }, "No portrait yet");
}

function behind(line) {
  const why = line.why && line.why !== line.what ? h("span", { class: "why" }, name(line.why)) : null;
  const who = line.who && line.who !== "talkdrop" ? h("span", { class: "why" }, "by ", name(line.who)) : null;
  return h("li", { "data-what": line.what }, h("time", { datetime: line.at, title: words.exact(line.at) }, words.seconds(line.at)),
    h("span", { class: "step" }, words.event(line.what), why, who));
}

function ahead() {
  const what = h("span");
  const when = h("span", { class: "why" });
  const line = h("li", { class: "ahead" }, h("span", { class: "soon" }, "next"), h("span", { class: "step" }, what, when));
  line.update = ({ coming }) => {
    setText(what, coming.what);
    setText(when, coming.when || "");
  };
  return line;
}
