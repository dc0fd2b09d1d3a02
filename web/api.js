// The tasks API. Nothing else of the page speaks to a server.

import * as home from "./home.js";
import { Problem } from "./problem.js";

const reached = (trouble) => dispatchEvent(new CustomEvent("reached", { detail: trouble }));

/** What came of a request; where no server was reached, the page says so at its top. */
async function outcome(request) {
  try {
    const found = await request;
    reached("");
    return found;
  } catch (error) {
    if (error instanceof Problem) throw error;
    reached(home.gone());
    throw new Problem(0, home.gone());
  }
}

async function checked(request) {
  const answer = await outcome(request);
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Problem(
    answer.status,
    String(body.detail || body.message || body.error || `the server answered ${answer.status}`),
    Array.isArray(body.errors) ? body.errors : [],
  );
}

const send = (path, options) => checked(fetch(path, options));
const call = (path, options) => checked(home.call(path, options));
const json = (answer) => (answer.status === 204 ? null : answer.json());
const body = (value, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(value),
});

export const config = () => outcome(home.open());
export const health = () => call("health").then(json);
export const task = (id) => call(`tasks/${encodeURIComponent(id)}`).then(json);
export const decide = (id, what, given) => call(`tasks/${id}/${what}`, body(given)).then(json);
export const cancelFolder = (given) => call("cancel", body(given)).then(json);
export const quote = (request) => call("quote", body(request)).then(json);
export const manifest = (id) => outcome(home.manifest(id));
export const submit = (request, key) =>
  call("tasks", body(request, { "Idempotency-Key": key })).then(async (answer) => ({
    task: await answer.json(),
    isNew: answer.status === 201,
  }));

/** One page of the list; filters that are empty are left out. */
export function page(filters) {
  const query = Object.fromEntries(Object.entries(filters).filter(([, value]) => value));
  return call("tasks", { query }).then(json);
}

let known = null;
/** Prices and limits; asked for once. */
export function models() {
  known ||= call("models").then(json).catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

/** Puts a file into the inbox; answers its key. It makes no task. */
export async function upload(blob, fileName, folder, type) {
  const form = await call("uploads", body({
    name: fileName, folder, content_type: type, bytes: blob.size,
  })).then(json);
  const fields = new FormData();
  for (const [field, value] of Object.entries(form.fields)) fields.append(field, value);
  fields.append("file", blob);
  await send(form.url, { method: "POST", body: fields });
  return form.key;
}

// The simulated providers of the embedded run.
export const ledger = () => send("rehearsal/ledger").then(json);
export const faults = () => send("rehearsal/faults").then(json);
export const setFault = (given) => send("rehearsal/faults", body(given)).then(json);
export const removeFault = (id) => send(`rehearsal/faults/${id}`, { method: "POST" }).then(json);
export const sample = (file) => send(`samples/${file}`).then((answer) => answer.blob());
