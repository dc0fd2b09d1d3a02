// Is it well: money, queues, held tasks, providers.

import * as api from "./api.js";
import { every, h, heading, trouble } from "./dom.js";
import { span, usd } from "./words.js";

const REFRESH_SECONDS = 5;

export async function show({ main }) {
  const body = h("div");
  main.append(heading("Health"), body);
  const refresh = async () => {
    try {
      const [health, models] = await Promise.all([api.health(), api.models()]);
      const now = JSON.stringify(health);
      if (body.dataset.now === now) return;
      body.dataset.now = now;
      body.replaceChildren(...page(health, models));
    } catch (error) {
      delete body.dataset.now;
      body.replaceChildren(trouble(error, refresh));
    }
  };
  const stop = every(REFRESH_SECONDS, refresh);
  await stop.first;
  return stop;
}

function page(health, models) {
  const troubles = reasons(health);
  return [
    h("div", { class: "verdict", "data-tone": troubles.length ? "bad" : "good", role: "status" },
      h("p", { class: "lead" }, h("span", { class: "dot", "aria-hidden": "true" }), troubles.length ? "Something needs a person" : "All is well"),
      troubles.length > 0 && h("ul", {}, ...troubles.map((one) => h("li", {}, one)))),
    h("div", { class: "cards" },
      card("Money", ...(health.budgets.length ? health.budgets.map(budget) : [h("p", { class: "quiet" }, "No cap is set: whoever may drop files may spend without limit (budget_usd_per_day).")])),
      card("Queues", table(["Queue", "Ready", "Taken", "Delayed"], Object.entries(health.queues).map(([queue, one]) => [queue, one.ready, one.taken, one.delayed]))),
      card("Dead letters", table(["Queue", "Messages"], Object.entries(health.dead_letters)))),
    h("h2", { class: "section" }, "Providers"),
    h("div", { class: "cards" }, ...models.providers.map(provider)),
  ];
}

function reasons(health) {
  const found = [];
  const { tasks, exact } = health.held;
  if (tasks) found.push(h("a", { href: "#/?status=HELD" }, `${exact ? "" : "more than "}${tasks} held ${tasks === 1 ? "task waits" : "tasks wait"} for a decision`));
  for (const one of health.stopped) found.push(`${one.provider} is stopped: ${one.why}. Mend its account or key, then: talkdrop reopen ${one.provider}`);
  const dead = Object.values(health.dead_letters).reduce((sum, one) => sum + one, 0);
  if (dead) found.push(`${dead} ${dead === 1 ? "message" : "messages"} ended as dead letters: talkdrop redrive sends them again`);
  if (!health.submitting) found.push("submitting is switched off by the option submit_enabled: tasks wait, nothing is paid");
  for (const one of health.budgets) if (one.spent_usd >= one.cap_usd) found.push(`the budget of ${one.period} is used up: tasks wait for the next`);
  return found;
}

function budget(one) {
  const label = `${one.period.length > 7 ? "Today" : "This month"}: ${usd(one.spent_usd)} of ${usd(one.cap_usd)}`;
  return h("div", { class: "budget" }, h("p", {}, label),
    h("meter", { min: 0, max: one.cap_usd || 1, high: one.cap_usd * 0.8, value: Math.min(one.spent_usd, one.cap_usd), "aria-label": label }));
}

function provider(one) {
  const tone = { open: "good", stopped: "bad", paused: "warn" }[one.state] || "rest";
  const rows = one.models.map((model) => [model.model, prices(model), span(model.usual_seconds), model.limits.audio_max_seconds ? span(model.limits.audio_max_seconds) : "–"]);
  return h("section", { class: "card wide", "data-tone": tone }, h("h3", {}, one.provider, " ", h("span", { class: "pill" }, one.state)),
    one.why && h("p", { class: "quiet" }, one.why),
    table(["Model", "A minute of voice", "Usually takes", "Longest voice"], rows));
}

function prices(model) {
  const all = [...Object.values(model.prices), model.usd_per_second].map((price) => price * 60);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return least === most ? usd(least) : `${usd(least)} to ${usd(most)}`;
}

const card = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), ...children);

export function table(heads, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": heads[0] },
    h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), ...cells.map((cell) => h("td", {}, cell instanceof Node ? cell : String(cell))))))));
}
