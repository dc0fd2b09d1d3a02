// The tasks API. Nothing else of the page speaks to a server.

export class Problem extends Error {
  constructor(status, message, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

const GONE = "The server behind this page does not answer. Is “talkdrop page” still running?";

const reached = (trouble) => dispatchEvent(new CustomEvent("reached", { detail: trouble }));

async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    reached(GONE);
    throw new Problem(0, GONE);
  }
  reached("");
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Problem(
    answer.status,
    String(body.detail || body.message || body.error || `the server answered ${answer.status}`),
    Array.isArray(body.errors) ? body.errors : [],
  );
}

const json = (answer) => (answer.status === 204 ? null : answer.json());
const body = (value, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(value),
});

export const config = () => send("config.json").then(json);
export const health = () => send("api/health").then(json);
export const task = (id) => send(`api/tasks/${encodeURIComponent(id)}`).then(json);
export const decide = (id, what, given) => send(`api/tasks/${id}/${what}`, body(given)).then(json);
export const cancelFolder = (given) => send("api/cancel", body(given)).then(json);
export const quote = (request) => send("api/quote", body(request)).then(json);
export const manifest = (id) => send(`api/tasks/${id}/manifest`).then(json);
export const submit = (request, key) =>
  send("api/tasks", body(request, { "Idempotency-Key": key })).then(async (answer) => ({
    task: await answer.json(),
    isNew: answer.status === 201,
  }));

/** One page of the list; filters that are empty are left out. */
export function page(filters) {
  const given = Object.entries(filters).filter(([, value]) => value);
  return send(`api/tasks?${new URLSearchParams(given)}`).then(json);
}

let known = null;
/** Prices and limits; asked for once. */
export function models() {
  known ||= send("api/models").then(json).catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

/** Where a task's video, portrait or voice is to be had. */
export const file = (id, what) => `api/tasks/${id}/${what}`;

/** Puts a file into the inbox; answers its key. It makes no task. */
export async function upload(blob, fileName, folder, type) {
  const form = await send("api/uploads", body({
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
