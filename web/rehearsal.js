// The embedded run's own panel: what the simulated providers charged, and what shall go wrong next.

import * as api from "./api.js";
import { announce, every, h, heading, name, setText, trouble } from "./dom.js";
import { table } from "./health.js";
import { clock, status, title, tone } from "./words.js";

const REFRESH_SECONDS = 2;
// What to rehearse: the fault, its settings, and what must be seen then.
const REHEARSALS = [
  ["Lose an answer", "lost_answer", {}, "The job is made and charged, but its answer never arrives. Talkdrop must find the job, not pay for another."],
  ["Kill a callback", "callback_missing", {}, "The provider never says that the video is done. Talkdrop must find out by asking."],
  ["Throttle", "throttle", {}, "The provider refuses the next job for now. Talkdrop must wait its turn and try again, uncharged."],
  ["Expire a link", "link_expired", {}, "The video’s link answers 403. Talkdrop must ask for a fresh one and still archive it."],
  ["Forge a callback", "callback_forged", { as: "early_success" }, "A callback claims success too early. Talkdrop must not believe it."],
  ["Fail the job", "failed", {}, "The provider gives up. Talkdrop must say why, and not pay again by itself."],
];

export async function show({ main, config }) {
  if (!config.rehearsal) {
    main.append(heading("Rehearsal"), h("div", { class: "empty" }, h("p", { class: "empty-title" }, "Only in the embedded run"), h("p", {}, "make up starts one, with simulated providers that cost nothing.")));
    return null;
  }
  const view = new Rehearsal(main);
  const stop = every(REFRESH_SECONDS, () => view.refresh());
  await stop.first;
  return stop;
}

class Rehearsal {
  constructor(main) {
    this.sentence = h("p", { class: "lead" }, h("span", { class: "dot", "aria-hidden": "true" }), h("span"));
    this.verdict = h("div", { class: "verdict" }, this.sentence, h("p", { class: "quiet" }, "Counted from the simulated providers’ own ledger, not from what Talkdrop believes."));
    this.set = h("ul", { class: "set" });
    this.ledger = h("div");
    this.tasks = h("ul", { class: "small-tasks" });
    this.error = h("div");
    main.append(
      h("div", { class: "head" }, heading("Rehearsal"), h("a", { class: "button primary", href: "#/new" }, "New video")),
      this.error, this.verdict,
      h("h2", { class: "section" }, "Make something go wrong, then make a video"),
      h("ul", { class: "cards rehearsals" }, ...REHEARSALS.map((one) => this.card(...one))),
      this.set,
      h("div", { class: "columns even" },
        h("section", { class: "card" }, h("h2", {}, "The ledger"), this.ledger),
        h("section", { class: "card" }, h("h2", {}, "The last videos"), this.tasks)),
    );
  }

  card(label, fault, settings, text) {
    return h("li", { class: "card" }, h("h3", {}, label), h("p", {}, text),
      h("button", { type: "button", class: "button", "aria-label": `The next one: ${label}`, onclick: () => this.strike(label, fault, settings) }, "The next one"));
  }

  async strike(label, fault, settings) {
    try {
      await api.setFault({ fault, count: 1, ...settings });
      announce(`${label}: set for the next one`);
    } catch (error) {
      announce(error.message);
    }
    await this.refresh();
  }

  async refresh() {
    try {
      const [ledger, faults, page] = await Promise.all([api.ledger(), api.faults(), api.page({ limit: "6" })]);
      this.error.replaceChildren();
      this.drawFaults(faults);
      this.drawLedger(ledger.charges, page.tasks);
    } catch (error) {
      this.error.replaceChildren(trouble(error, () => this.refresh()));
    }
  }

  drawFaults({ faults, kinds }) {
    const now = JSON.stringify(faults);
    if (this.set.dataset.now === now) return;
    this.set.dataset.now = now;
    this.set.replaceChildren(...faults.map((one) => h("li", {},
      h("strong", {}, one.kind.replaceAll("_", " ")), `: ${kinds[one.kind].does}. `,
      h("span", { class: "quiet" }, one.count === 0 ? `It struck ${times(one.struck)}.` : `To strike ${one.count === null ? "every time" : times(one.count)}. `),
      this.undo(one, one.count === 0 ? "Clear" : "Take back"))));
  }

  undo(fault, label) {
    return h("button", { type: "button", class: "quiet-button", "aria-label": `${label} ${fault.kind}`, onclick: () => this.remove(fault) }, label);
  }

  async remove(fault) {
    await api.removeFault(fault.id).catch((error) => announce(error.message));
    await this.refresh();
  }

  drawLedger(charges, tasks) {
    const { text, good } = verdict(charges);
    setText(this.sentence.lastChild, text);
    this.verdict.dataset.tone = good ? "good" : "bad";
    const now = JSON.stringify([charges.length, tasks.map((one) => [one.task_id, one.status])]);
    if (this.ledger.dataset.now === now) return;
    this.ledger.dataset.now = now;
    this.ledger.replaceChildren(charges.length
      ? table(["Task", "Provider", "Amount", "Kind"], [...charges].reverse().slice(0, 50).map((one) => [link(one), one.provider, `${one.amount} ${one.unit}`, one.kind]))
      : h("p", { class: "quiet" }, "Nothing was charged yet."));
    this.tasks.replaceChildren(...tasks.map((one) => h("li", { "data-tone": tone(one) },
      h("a", { href: `#/tasks/${one.task_id}` }, name(title(one))), h("span", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }), status(one), ` · ${clock(one.created_at)}`))));
  }
}

const times = (count) => (count === 1 ? "once" : `${count} times`);
/** Whose charge it is: the callback address names the task; without one the job stands for it. */
export const taskOf = (charge) => charge.callback_url.match(/\/callbacks\/[^/]+\/([0-9a-f]{32})\//)?.[1] || charge.job_id;

function link(charge) {
  const id = taskOf(charge);
  return charge.callback_url.includes(id) ? h("a", { href: `#/tasks/${id}` }, id.slice(0, 8)) : h("span", {}, id.slice(0, 8));
}

/** A person may pay for one more attempt: each is counted for itself. */
const attemptOf = (charge) => charge.callback_url.match(/\/callbacks\/[^/]+\/([0-9a-f]{32}\/[0-9]+)\//)?.[1] || charge.job_id;

/** How often each task was charged, refunds taken off, in one sentence. */
export function verdict(charges) {
  const count = new Map();
  for (const one of charges) count.set(attemptOf(one), (count.get(attemptOf(one)) || 0) + Math.sign(one.amount));
  const often = [...count.values()].filter((one) => one > 1).length;
  if (!charges.length) return { text: "No charge yet", good: true };
  if (often) return { text: `${often} ${often === 1 ? "task was" : "tasks were"} charged more than once`, good: false };
  const paid = [...count.values()].filter((one) => one === 1).length;
  return { text: `${paid} ${paid === 1 ? "task" : "tasks"}, ${paid} ${paid === 1 ? "charge" : "charges"}: each charged once`, good: true };
}
