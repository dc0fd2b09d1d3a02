// Where this page lives, and so how it reaches the API. config.json says which of two it is:
// the loopback server of `talkdrop page`, which signs; or CloudFront, where the browser signs with
// the role of the person's group.

import { Problem } from "./problem.js";
import { Session } from "./session.js";
import { encoded, sign } from "./sign.js";

let session = null;
let cognito = null;

/** Answers the page's config, once the person is signed in where the home asks for it. */
export async function open() {
  const answer = await fetch("config.json", { cache: "no-store" });
  if (!answer.ok) throw new Problem(answer.status, "this page's config.json is not there");
  const config = await answer.json();
  if (config.cognito) {
    cognito = { ...config.cognito, region: config.region };
    session = new Session(cognito);
    await session.open();
  }
  return config;
}

/** Who is signed in, and in which group; null where the home asks nobody. */
export const person = () => session?.person || null;
export const signOut = () => session.signOut();

/** May the person do this: `make` videos, `decide` about tasks. IAM refuses it in any case; the
 * page does not offer what would be refused. */
export const may = (what) => !session || session.person.rights.includes(what);

export const gone = () => session
  ? "The API does not answer. Is this machine online?"
  : "The server behind this page does not answer. Is “talkdrop page” still running?";

/** A request to the API; `path` without a slash at its beginning, `query` by name. */
export async function call(path, { method = "GET", query = {}, headers = {}, body } = {}) {
  const given = Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join("&");
  const address = given ? `${path}?${given}` : path;
  if (!session) return fetch(`api/${address}`, { method, headers, body });
  const url = new URL(`${cognito.api}/${address}`);
  const signed = await sign({ method, url, headers, body }, await session.credentials(), cognito.region);
  const answer = await fetch(url, { method, headers: signed, body });
  if (answer.status === 403) throw new Problem(403, "AWS refused it: your group may not do this, or this machine’s clock is wrong.");
  return answer;
}

/** Shows a file of a task in this element. A link of S3 dies in a quarter of an hour, so one that
 * does not serve is replaced, once. */
export function show(element, attribute, id, what) {
  if (!session) {
    element.setAttribute(attribute, `api/tasks/${id}/${what}`);
    return;
  }
  const put = () => link(id, what).then((url) => element.setAttribute(attribute, url), () => {});
  if (attribute === "src") element.addEventListener("error", put, { once: true });
  if (element.loading === "lazy") whenSeen(element, put);
  else put();
}

/** A link to a task's file, where the browser may not follow the API's redirect: its target would
 * see no origin that could be let in. */
export async function link(id, what, as = "link") {
  const answer = await call(`tasks/${id}/${what}`, { query: { as } });
  if (!answer.ok) throw new Problem(answer.status, `there is no ${what} to show`);
  return (await answer.json()).url;
}

/** Makes a link that saves a task's file. */
export function saves(anchor, id, what) {
  anchor.href = `api/tasks/${id}/${what}`;
  if (!session) return anchor;
  anchor.href = "#";
  anchor.addEventListener("click", async (event) => {
    event.preventDefault();
    location.assign(await link(id, what, "attachment"));
  });
  return anchor;
}

/** The manifest of a task, read. */
export async function manifest(id) {
  const answer = session ? await fetch(await link(id, "manifest")) : await call(`tasks/${id}/manifest`);
  if (!answer.ok) throw new Problem(answer.status, `the manifest cannot be read (${answer.status})`);
  return answer.json();
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    target.dispatchEvent(new Event("seen"));
  }
}, { rootMargin: "400px" });

function whenSeen(element, work) {
  element.addEventListener("seen", work, { once: true });
  seen.observe(element);
}
