// A new video: files in, price and refusals, and only then the button.

import * as api from "./api.js";
import { announce, h, heading, name, setText, trouble } from "./dom.js";
import * as drop from "./drop.js";
import * as home from "./home.js";
import { span, usd } from "./words.js";

const AT_ONCE = 3; // uploads beside each other
/** What the video may cost. Where a long voice is cut is known after it was sent: a begun second of
 * each piece is paid whole, so a tenth more than the estimate. */
const most = (quote) => (quote.pieces ? Math.ceil(quote.quote_usd * 110) / 100 : quote.quote_usd);
const RESERVED = ["provider", "model", "max_usd", "prompt", "long_voice", "reuse", "consent"];

export async function show({ main, config }) {
  if (!home.may("make")) {
    main.append(heading("New video"), h("div", { class: "empty" }, h("p", { class: "empty-title" }, "Your group only looks"),
      h("p", {}, "Makers and approvers make videos; who runs Talkdrop can put you among them.")));
    return null;
  }
  const view = new New(main, config);
  await view.open();
  return () => view.close();
}

class New {
  constructor(main, config) {
    this.main = main;
    this.config = config;
    this.rows = [];
    this.running = 0;
    this.waiting = [];
  }

  async open() {
    try {
      this.models = await api.models();
    } catch (error) {
      this.main.replaceChildren(heading("New video"), trouble(error, () => location.reload()));
      return;
    }
    this.list = h("ul", { class: "rows new-rows" });
    this.left = h("ul", { class: "left-out" });
    this.total = h("p", { class: "total", "aria-live": "polite" });
    this.go = h("button", { type: "button", class: "button primary big", disabled: true, onclick: () => this.send() }, "Make the video");
    this.options = this.form();
    this.summary = h("div", { class: "summary", hidden: true }, this.total, this.go);
    this.main.append(heading("New video"), this.zone(), this.options, this.list, this.left, this.summary);
    this.guard = (event) => event.preventDefault();
    for (const kind of ["dragover", "drop"]) addEventListener(kind, this.guard);
  }

  close() {
    for (const kind of ["dragover", "drop"]) removeEventListener(kind, this.guard);
  }

  zone() {
    const input = (props) => h("input", { type: "file", multiple: true, class: "hidden-input", onchange: (event) => this.take(event.target), ...props });
    const zone = h("div", { class: "zone" },
      h("p", { class: "zone-title" }, "Drop a face and its voices here, or a whole folder"),
      h("p", {}, "Each voice becomes a video. Its face is the picture of the same name, else portrait.png."),
      h("div", { class: "buttons" },
        h("label", { class: "button" }, "Choose files", input({ id: "files", accept: "image/*,audio/*,.txt,.json" })),
        h("label", { class: "button" }, "Choose a folder", input({ id: "folder-files", webkitdirectory: true })),
        this.config.samples && h("button", { type: "button", class: "button", onclick: () => this.sample() }, "Use the sample")));
    zone.addEventListener("dragenter", () => zone.classList.add("over"));
    zone.addEventListener("dragleave", (event) => zone.contains(event.relatedTarget) || zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      zone.classList.remove("over");
      this.take(event.dataTransfer);
    });
    return zone;
  }

  form() {
    const provider = h("select", { name: "provider" }, ...this.models.providers.map((one) =>
      h("option", { value: one.provider, selected: one.provider === this.models.default_provider },
        `${one.provider}${one.state === "open" ? "" : ` (${one.state})`}`)));
    const model = h("select", { name: "model" });
    const field = (label, input) => h("label", { class: "field" }, h("span", {}, label), input);
    const form = h("form", { class: "card options", "aria-label": "For all of them" },
      h("div", { class: "filters" },
        field("Folder", h("input", { name: "folder", placeholder: "episode-12", autocomplete: "off", maxlength: 512 })),
        field("Provider", provider), field("Model", model)),
      field("Prompt: what the portrait does while it speaks", h("input", { name: "prompt", autocomplete: "off", placeholder: "she smiles (may stay empty)" })));
    const offer = () => {
      const found = this.models.providers.find((one) => one.provider === provider.value);
      model.replaceChildren(h("option", { value: "" }, "The cheapest that fits"), ...found.models.map((one) => h("option", { value: one.model }, one.model)));
    };
    provider.addEventListener("change", offer);
    offer();
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => this.chose());
    return form;
  }

  /** A name of its own each time, so that each is a video of its own. */
  async sample() {
    const [face, voice] = await Promise.all(["portrait.png", "voice.mp3"].map(api.sample));
    const stem = `sample ${new Date().toTimeString().slice(0, 8).replaceAll(":", ".")}`;
    await this.add([{ path: `${stem}.png`, file: face }, { path: `${stem}.mp3`, file: voice }]);
  }

  async take(source) {
    const files = await drop.filesOf(source);
    if (source.value) source.value = "";
    await this.add(files);
  }

  async add(files) {
    const { videos, left } = await drop.pair(files);
    this.left.replaceChildren(...left.map((line) => h("li", {}, name(line))));
    for (const video of videos) {
      const row = new Row(video, this);
      this.rows.push(row);
      this.list.append(row.element);
      this.prepare(row);
    }
    announce(`${videos.length} ${videos.length === 1 ? "video" : "videos"} to make${left.length ? `, ${left.length} files left out` : ""}`);
    this.draw();
  }

  /** Uploads and quotes, a few rows at a time. */
  prepare(row) {
    this.waiting.push(row);
    this.pump();
  }

  async pump() {
    while (this.running < AT_ONCE && this.waiting.length) {
      const row = this.waiting.shift();
      this.running++;
      row.prepare().finally(() => {
        this.running--;
        this.draw();
        this.pump();
      });
    }
  }

  /** What was chosen changed: upload or quote anew, but only what really is another request. */
  chose() {
    for (const row of this.rows.filter((one) => !one.sent && one.isStale)) this.prepare(row);
  }

  /** What is chosen for all of them; a row's own files come first. */
  get chosen() {
    const { folder, provider, model, prompt } = this.options.elements;
    return { folder: folder.value.replace(/^\/+|\/+$/g, ""), provider: provider.value, model: model.value || null, prompt: prompt.value.trim() };
  }

  draw() {
    const ready = this.rows.filter((one) => one.state === "ready");
    const refused = this.rows.filter((one) => one.state === "refused").length;
    const busy = this.rows.some((one) => one.state === "busy");
    const price = ready.reduce((sum, one) => sum + (one.quote.quote_usd || 0), 0);
    this.summary.hidden = !this.rows.length;
    this.go.disabled = !ready.length || busy || this.sending;
    setText(this.go, ready.length > 1 ? `Make ${ready.length} videos for ${usd(price)}` : ready.length ? `Make the video for ${usd(price)}` : "Make the video");
    const parts = [];
    if (busy) parts.push("Uploading and checking; nothing is made or charged yet.");
    else if (ready.length) parts.push(`${usd(price)} by the provider’s price list. A video never costs more than its line says.`);
    if (refused) parts.push(`${refused} cannot be made, ${refused === 1 ? "its reason stands" : "the reasons stand"} above.`);
    const made = this.rows.filter((one) => one.sent).length;
    if (made) parts.push(`${made} ${made === 1 ? "is" : "are"} on the way.`);
    setText(this.total, parts.join(" "));
  }

  async send() {
    this.sending = true;
    this.draw();
    const ready = this.rows.filter((one) => one.state === "ready");
    for (const row of ready) await row.send();
    this.sending = false;
    this.draw();
    const made = ready.filter((one) => one.sent);
    announce(`${made.length} of ${ready.length} are on the way`);
    if (ready.length === 1 && made.length === 1) location.hash = `#/tasks/${made[0].sent.task_id}`;
  }
}

/** One video to be made. `state` is busy, ready, refused or sent. */
class Row {
  constructor(video, view) {
    this.video = video;
    this.view = view;
    this.keys = null;
    this.copy = "";
    this.round = 0;
    this.words = h("span", { class: "words" });
    this.price = h("span", { class: "price" });
    this.model = h("span", { class: "age" });
    this.face = h("span", { class: "face" });
    this.remove = h("button", { type: "button", class: "quiet-button", "aria-label": `Remove ${drop.stemOf(video.path)}`, onclick: () => this.drop() }, "Remove");
    this.line = h("div", { class: "row" }, this.face,
      h("span", { class: "what" }, name(video.folder, { class: "folder", hidden: !video.folder }), name(drop.stemOf(video.path), { class: "stem" }),
        h("span", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }), this.words)),
      h("span", { class: "side" }, this.price, this.model, this.remove));
    this.element = h("li", {}, this.line);
    this.show("busy", "waiting to be uploaded");
    thumbnail(video.face, this.face);
  }

  show(state, text) {
    this.state = state;
    this.line.dataset.tone = { busy: "run", ready: "good", refused: "bad", sent: "run" }[state];
    setText(this.words, text);
  }

  drop() {
    this.view.rows = this.view.rows.filter((one) => one !== this);
    this.element.remove();
    this.view.draw();
  }

  async prepare() {
    const round = ++this.round;
    this.quote = null;
    this.price.textContent = this.model.textContent = "";
    try {
      if (!this.keys || this.uploadedTo !== this.folder()) {
        this.show("busy", "being uploaded to your inbox");
        const folder = this.folder();
        const keys = await this.upload();
        if (round !== this.round) return;
        this.keys = keys;
        this.uploadedTo = folder;
      }
      this.show("busy", "being checked");
      this.quoted = JSON.stringify(this.request());
      const quote = await api.quote(this.request());
      if (round !== this.round) return;
      this.quote = quote;
      this.price.textContent = usd(quote.quote_usd);
      this.model.textContent = quote.model;
      const length = quote.audio_seconds ? `${span(quote.audio_seconds)} of voice, ` : "";
      const pieces = quote.pieces ? `in about ${quote.pieces} pieces, at most ${usd(most(quote))}, ` : "";
      this.show("ready", `${length}${pieces}usually takes ${span(quote.usual_seconds)}`);
    } catch (error) {
      if (round !== this.round) return;
      const reasons = error.errors?.map((one) => one.message) || [];
      this.show("refused", reasons.length ? reasons.join("; ") : error.message);
    }
  }

  async upload() {
    const { face, voice, facePath, path } = this.video;
    const folder = this.folder();
    const put = (file, from) => api.upload(file, from.split("/").pop(), folder, drop.typeOf(from));
    return { portrait: await put(face, facePath), audio: await put(voice, path) };
  }

  get isStale() {
    return this.uploadedTo !== this.folder() || this.quoted !== JSON.stringify(this.request());
  }

  folder() {
    return [this.view.chosen.folder, this.video.folder].filter(Boolean).join("/");
  }

  request() {
    const own = this.video.settings;
    const chosen = this.view.chosen;
    const settings = Object.fromEntries(Object.entries(own).filter(([key]) => !RESERVED.includes(key)));
    const provider = own.provider || chosen.provider;
    const model = own.model || (own.provider && own.provider !== chosen.provider ? null : chosen.model);
    return {
      ...this.keys, provider, model, settings, prompt: this.video.prompt || chosen.prompt,
      ...(own.max_usd ? { max_usd: own.max_usd } : {}),
      ...(own.long_voice ? { long_voice: own.long_voice } : {}),
      ...("reuse" in own ? { reuse: own.reuse } : {}),
    };
  }

  /** The same files once more are one more video only by this button. */
  another() {
    return h("button", { type: "button", class: "button", onclick: (event) => {
      event.target.replaceWith(this.price);
      this.copy = crypto.randomUUID();
      this.sent = null;
      this.send();
    } }, `Make another for ${usd(this.quote.quote_usd)}`);
  }

  /** The key is made of the files' contents and all that was chosen: pressed twice, or done again
   * after a crash, it is the same task and is charged once. */
  async send() {
    if (this.isStale) {
      await this.prepare();
      return;
    }
    this.show("busy", "being sent");
    try {
      const { consent } = this.video.settings; // a quote takes none
      const request = { ...this.request(), ...(consent ? { consent } : {}) };
      const key = await keyOf(this.video, this.folder(), request, this.copy);
      const cap = this.quote.quote_usd > 0 ? { max_usd: most(this.quote) } : {};
      const { task, isNew } = await api.submit({ ...cap, ...request }, key);
      this.sent = task;
      this.show("sent", isNew ? "on its way" : "it was made before and is not charged again");
      this.remove.replaceWith(h("a", { href: `#/tasks/${task.task_id}` }, "Look"));
      if (!isNew) this.price.replaceWith(this.another());
    } catch (error) {
      const again = error.errors?.some((one) => one.code === "KEY_REUSED");
      this.show("refused", again ? "these files were sent before, at another price: look in the list" : error.message);
      if (error.status === 0 || error.status >= 500) this.show("ready", `${error.message} Press again: it is charged once.`);
    }
  }
}

async function keyOf(video, folder, request, copy) {
  const facts = [copy, folder, video.path, request.provider, request.model, request.prompt, Object.entries(request.settings).sort(),
    await sha256(await video.face.arrayBuffer()), await sha256(await video.voice.arrayBuffer())];
  return `page-${await sha256(new TextEncoder().encode(JSON.stringify(facts)))}`;
}

async function sha256(content) {
  const digest = await crypto.subtle.digest("SHA-256", content);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Drawn, since the page's policy lets no picture in that does not come from its own server. */
async function thumbnail(file, place) {
  try {
    const picture = await createImageBitmap(file, { resizeWidth: 112, resizeQuality: "medium" });
    const side = Math.min(picture.width, picture.height);
    const canvas = h("canvas", { width: 112, height: 112 });
    canvas.getContext("2d").drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, 112, 112);
    place.append(canvas);
  } catch {
    // The browser cannot draw it; the API says whether a provider takes it.
  }
}
