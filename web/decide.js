// The dialog before a decision: its risk in words, and what it needs.

import * as api from "./api.js";
import { h, name } from "./dom.js";
import { title } from "./words.js";

const NEEDS_REASON = new Set(["adopt", "resubmit", "fail"]);
// The risk of the API where the provider itself refused the last attempt; any other is a doubt.
const WITHOUT_DOUBT = "a new attempt is paid anew";

/** A decision about one task; answers what came of it, or null where it was not taken. */
export function decide(task, verb, label) {
  const risk = task.actions[verb] || "";
  const send = async (form) => (await api.decide(task.task_id, verb, given(form, verb))).result;
  return confirmed([`${label}: `, name(title(task))], risk, fields(verb, risk), label, send);
}

/** Takes back every task of a folder that was not sent yet. */
export function cancelFolder(prefix) {
  const send = async (form) => {
    let count = 0;
    let cursor = "";
    do {
      const page = await api.cancelFolder({ prefix, cursor, why: new FormData(form).get("why") || "cancelled on the page" });
      count += page.cancelled.length;
      cursor = page.cursor;
    } while (cursor);
    return `${count} cancelled; nothing of them was paid`;
  };
  const risk = "every task below it that was not sent yet is cancelled and cannot be brought back; what is sent is paid and goes on";
  return confirmed(["Cancel the folder ", name(prefix)], risk, fields("cancel", risk), "Cancel them", send);
}

function confirmed(heading, risk, inputs, label, send) {
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const confirm = h("button", { class: "button primary", type: "submit" }, label);
  const form = h("form", { method: "dialog" },
    h("h2", { id: "deciding" }, ...heading),
    h("p", { class: "risk" }, risk.charAt(0).toUpperCase() + risk.slice(1)),
    ...inputs, error,
    h("div", { class: "buttons" }, confirm,
      h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Back")));
  const dialog = h("dialog", { "aria-labelledby": "deciding" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    let result = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      try {
        result = await send(form);
        dialog.close();
      } catch (refused) {
        error.hidden = false;
        error.textContent = refused.message;
        confirm.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(result);
    });
  });
}

function fields(verb, risk) {
  const found = [];
  if (verb === "adopt") {
    found.push(field("The job’s id at the provider", h("input", { name: "job_id", required: true, maxlength: 128, autocomplete: "off", spellcheck: "false" })));
  }
  found.push(field(NEEDS_REASON.has(verb) ? "Why, for the history" : "Why, for the history (may stay empty)",
    h("input", { name: "why", required: NEEDS_REASON.has(verb), maxlength: 500, autocomplete: "off" })));
  if (verb === "resubmit" && risk !== WITHOUT_DOUBT) {
    found.push(h("label", { class: "check" }, h("input", { type: "checkbox", name: "accept", required: true }),
      h("span", {}, "I looked at the provider, and accept that it may be charged a second time")));
  }
  return found;
}

const field = (label, input) => h("label", { class: "field" }, h("span", {}, label), input);

function given(form, verb) {
  const values = new FormData(form);
  const body = {};
  if (values.get("why")) body.why = values.get("why");
  if (verb === "adopt") body.job_id = values.get("job_id").trim();
  if (verb === "resubmit") body.i_accept_a_second_charge = values.get("accept") === "on";
  return body;
}
