// The page's second home: a person signs in at Cognito's own page (authorization code with PKCE),
// and the identity pool gives this browser credentials of the role of the person's group.
//
// The tokens lie in sessionStorage: they outlive a reload, end with the tab, and no other tab and no
// later start of the browser has them. AWS's credentials are kept in memory alone. No script but the
// page's own runs here (its policy), and none of it puts a text where it would become one.
// https://docs.aws.amazon.com/cognito/latest/developerguide/authorization-endpoint.html

import { h } from "./dom.js";
import { Problem } from "./problem.js";

const TOKENS = "talkdrop-tokens";
const PENDING = "talkdrop-sign-in";
const AGAIN = "again.";
const EARLY_SECONDS = 120; // before its end a token is no good any more: clocks differ
// infra/page.py gives each group its routes; IAM holds them.
const RIGHTS = { approver: ["make", "decide"], maker: ["make"], viewer: [] };
const HERE = `${location.origin}/`;
const channel = new BroadcastChannel(PENDING);

export class Session {
  constructor(cognito) {
    this.cognito = cognito;
    this.tokens = JSON.parse(sessionStorage.getItem(TOKENS) || "null");
  }

  /** Signed in when it answers; where the person must go to Cognito first, it never does. */
  async open() {
    const answer = new URLSearchParams(location.search);
    if (answer.get("state")?.startsWith(AGAIN)) await passOn(answer);
    if (answer.get("state")) await this.arrive(answer);
    if (!this.tokens) await this.leave();
    if (!this.isFresh) await this.refreshOr(() => this.leave());
  }

  get person() {
    const claims = payload(this.tokens.id_token);
    const groups = claims["cognito:groups"] || [];
    const group = Object.keys(RIGHTS).find((one) => groups.includes(one)) || "";
    return { name: claims.email || claims.sub, group, rights: RIGHTS[group] || [] };
  }

  get isFresh() {
    return payload(this.tokens.id_token).exp * 1000 > Date.now() + EARLY_SECONDS * 1000;
  }

  /** Credentials that still hold for a while: `{id, secret, token}`. Several requests at once get
   * them by one call. */
  credentials() {
    if (this.held?.until > Date.now() + EARLY_SECONDS * 1000) return this.held;
    this.coming ||= this.fetched().finally(() => { this.coming = null; });
    return this.coming;
  }

  async fetched() {
    if (!this.isFresh) await this.refreshOr(() => this.signInAgain());
    const logins = { [this.cognito.user_pool]: this.tokens.id_token };
    const { IdentityId } = await this.identity("GetId", { IdentityPoolId: this.cognito.identity_pool, Logins: logins });
    const { Credentials: found } = await this.identity("GetCredentialsForIdentity", { IdentityId, Logins: logins });
    this.held = { id: found.AccessKeyId, secret: found.SecretKey, token: found.SessionToken, until: found.Expiration * 1000 };
    return this.held;
  }

  async identity(action, body) {
    const answer = await fetch(this.cognito.identity, {
      method: "POST",
      headers: { "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": `AWSCognitoIdentityService.${action}` },
      body: JSON.stringify(body),
    });
    if (answer.ok) return answer.json();
    const { message = "", __type = "" } = await answer.json().catch(() => ({}));
    if (!this.person.group) throw new Problem(403, `${this.person.name} is in none of the groups viewer, maker and approver: ask who runs Talkdrop`);
    throw new Problem(403, `Cognito gave no credentials: ${message || __type || answer.status}`);
  }

  // Signing in.

  /** To Cognito's page, and back to the view that was asked for. */
  async leave() {
    location.assign(await this.address(""));
    await new Promise(() => {});
  }

  async address(kind) {
    const [state, verifier] = [kind + random(), random()];
    sessionStorage.setItem(PENDING, JSON.stringify({ state, verifier, hash: location.hash }));
    const challenge = base64(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
    const wanted = {
      response_type: "code", client_id: this.cognito.client, redirect_uri: HERE, scope: "openid email", state,
      code_challenge: challenge, code_challenge_method: "S256",
    };
    return `${this.cognito.login}/oauth2/authorize?${new URLSearchParams(wanted)}`;
  }

  /** Back from Cognito's page: what was begun here is ended here, once. */
  async arrive(answer) {
    const pending = JSON.parse(sessionStorage.getItem(PENDING) || "{}");
    sessionStorage.removeItem(PENDING);
    history.replaceState(null, "", `/${pending.hash || ""}`);
    if (answer.get("error")) throw new Problem(403, `Cognito did not sign you in: ${answer.get("error_description") || answer.get("error")}. Reload the page to try again.`);
    if (pending.state !== answer.get("state")) throw new Problem(403, "This sign-in was not begun in this tab. Reload the page to begin one.");
    await this.exchange(answer.get("code"), pending.verifier);
  }

  async exchange(code, verifier) {
    this.keep(await this.ask({ grant_type: "authorization_code", code, redirect_uri: HERE, code_verifier: verifier }));
  }

  /** A new ID token; a 400 is Cognito's word that the session is over. A refresh answers no new
   * refresh token: the one that is there stays. */
  async refreshOr(signIn) {
    try {
      const made = await this.ask({ grant_type: "refresh_token", refresh_token: this.tokens.refresh_token });
      this.keep({ ...this.tokens, ...made });
    } catch (error) {
      if (error.status !== 400) throw error;
      await signIn();
    }
  }

  async ask(fields) {
    const answer = await fetch(`${this.cognito.login}/oauth2/token`, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ client_id: this.cognito.client, ...fields }).toString(),
    });
    if (!answer.ok) throw new Problem(answer.status, "Cognito did not accept the sign-in: reload the page to try again");
    return answer.json();
  }

  keep({ id_token, refresh_token }) {
    this.tokens = { id_token, refresh_token };
    sessionStorage.setItem(TOKENS, JSON.stringify(this.tokens));
  }

  /** The session is over while the page is open: sign in by a window of its own, so that nothing
   * that was typed or chosen here is lost. What waits for it goes on then. */
  signInAgain() {
    return new Promise((done, failed) => {
      const error = h("p", { class: "error", role: "alert", hidden: true });
      const button = h("button", { class: "button primary", type: "button", onclick: () => this.openWindow(error) }, "Sign in");
      const dialog = h("dialog", { "aria-labelledby": "signing-in" },
        h("h2", { id: "signing-in" }, "Your session has ended"),
        h("p", { class: "risk" }, "Sign in again in a window of its own. What you typed and chose here stays."),
        error, h("div", { class: "buttons" }, button));
      dialog.addEventListener("cancel", (event) => event.preventDefault());
      document.body.append(dialog);
      dialog.showModal();
      channel.onmessage = async ({ data }) => {
        const pending = JSON.parse(sessionStorage.getItem(PENDING) || "{}");
        if (data.state !== pending.state) return;
        sessionStorage.removeItem(PENDING);
        channel.onmessage = null;
        dialog.remove();
        this.exchange(data.code, pending.verifier).then(done, failed);
      };
    });
  }

  async openWindow(error) {
    const opened = window.open("", "_blank", "popup,width=520,height=720");
    error.hidden = Boolean(opened);
    error.textContent = "Your browser blocked the window: allow windows of this page, and press again.";
    if (opened) opened.location = await this.address(AGAIN);
  }

  signOut() {
    sessionStorage.clear();
    const wanted = { client_id: this.cognito.client, logout_uri: HERE };
    location.assign(`${this.cognito.login}/logout?${new URLSearchParams(wanted)}`);
  }
}

/** In the window of its own: what Cognito answered goes to the page that waits for it. */
async function passOn(answer) {
  channel.postMessage({ state: answer.get("state"), code: answer.get("code") });
  document.getElementById("main").replaceChildren(h("p", {}, "You are signed in. This window can be closed."));
  window.close();
  await new Promise(() => {});
}

/** What a token says. It came from Cognito itself, over TLS; AWS checks it, the page only reads. */
function payload(token) {
  const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (one) => one.charCodeAt(0))));
}

const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));

function base64(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
