// Elements are made here and nowhere else. What comes from outside becomes text, never markup.

/** An element. `on…` names are listeners, `class` and attributes are set, null and false are left
 * out; children are elements or texts. */
export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A name that others chose: isolated, so that its direction does not move what stands beside it. */
export function name(text, props = {}) {
  return h("bdi", { dir: "auto", ...props }, text);
}

/** Makes the children of `parent` those of `items`: an element stays where its item stays, so that
 * neither focus nor a loaded picture is lost. */
export function sync(parent, items, keyOf, make) {
  const standing = new Map([...parent.children].map((one) => [one.dataset.key, one]));
  let at = null;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = standing.get(key);
    if (element) standing.delete(key);
    else {
      element = make(item);
      element.dataset.key = key;
    }
    element.update?.(item);
    const wanted = at ? at.nextSibling : parent.firstChild;
    if (element !== wanted) parent.insertBefore(element, wanted);
    at = element;
  }
  for (const gone of standing.values()) gone.remove();
}

/** Sets a text only where it differs: what is read aloud is not read again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Read aloud by a screen reader. */
export function announce(text) {
  setText(document.getElementById("live"), text);
}

/** Runs `work` now and then every `seconds`, not while the tab is hidden; answers what stops it. */
export function every(seconds, work) {
  let timer = 0;
  let ended = false;
  const run = async () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") await work();
    clearTimeout(timer);
    if (!ended) timer = setTimeout(run, seconds * 1000);
  };
  const seen = () => document.visibilityState === "visible" && run();
  document.addEventListener("visibilitychange", seen);
  const first = run();
  return Object.assign(
    () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
    { first },
  );
}

/** A heading that takes the focus when its view is opened. */
export function heading(...children) {
  return h("h1", { tabindex: "-1" }, ...children);
}

/** What stands where something could not be had: what happened, and what to do. */
export function trouble(error, again) {
  return h("div", { class: "empty", role: "alert" },
    h("p", { class: "empty-title" }, error.status === 404 ? "It is not there" : "That did not work"),
    h("p", {}, error.message),
    again && h("button", { type: "button", class: "button", onclick: again }, "Try again"));
}
