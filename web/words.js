// What a person reads: status, money and time in words.

export const RESTING = new Set(["COMPLETED", "FAILED", "HELD", "EXPIRED", "CANCELLED"]);
export const STATUSES = {
  WAITING: "Waiting for files", READY: "In the queue", IN_PIECES: "Being made in pieces", SUBMITTING: "Being sent",
  SUBMITTED: "At the provider", ARCHIVING: "Being archived", COMPLETED: "Ready to watch",
  HELD: "Held", FAILED: "Failed", EXPIRED: "Expired", CANCELLED: "Cancelled",
};
// good, bad, warn, run (under way) and rest (over, without a video).
const TONES = {
  COMPLETED: "good", FAILED: "bad", HELD: "bad", EXPIRED: "rest", CANCELLED: "rest", WAITING: "warn",
};

export const tone = (task) => TONES[task.status] || "run";
/** Its name; its id where the name has nothing that can be seen. */
export const title = (task) => (/[^\s\p{C}]/u.test(task.stem) ? task.stem : task.task_id.slice(0, 8));

export function usd(amount) {
  if (amount === null || amount === undefined) return "–";
  if (amount !== 0 && Math.abs(amount) < 0.01) return `$${amount.toPrecision(1)}`;
  return `$${amount.toFixed(2)}`;
}

/** What it was charged, else what it was quoted; null where nothing is paid. */
export function cost(task) {
  if (["CANCELLED", "EXPIRED"].includes(task.status)) return null;
  return task.charge_usd ?? task.quote_usd;
}

export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.round(whole / 60)} min`;
  if (whole < 48 * 3600) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86400)} days`;
}

/** “6–8 min”: from the model's least time to its usual one. */
export function usual(task, models) {
  const found = models?.providers.find((one) => one.provider === task.provider)
    ?.models.find((one) => one.model === task.model);
  const most = found?.usual_seconds || task.usual_seconds;
  if (!most) return "";
  const least = found?.first_seconds || 0;
  if (!least || least >= most || most < 90) return span(most);
  const [from, to] = [Math.round(least / 60), Math.round(most / 60)];
  return from < 1 || from === to ? span(most) : `${from}–${to} min`;
}

export const secondsSince = (instant) => (Date.now() - Date.parse(instant)) / 1000;

/** Where a task stands, in words. */
export function status(task, models) {
  switch (task.status) {
    case "WAITING": return missing(task);
    case "READY": return queued(task);
    case "IN_PIECES": return inPieces(task);
    case "SUBMITTING": return `being sent to ${task.provider}`;
    case "SUBMITTED": return atProvider(task, models);
    case "ARCHIVING": return "its video is being checked and archived";
    case "COMPLETED": return task.video?.seconds ? `ready to watch, ${span(task.video.seconds)}` : "ready to watch";
    case "HELD": return `a person must decide: ${reason(task) || "going on could charge twice"}`;
    case "FAILED": return reason(task) || "failed";
    case "EXPIRED": return reason(task) || "expired: its files did not come in time";
    case "CANCELLED": return "cancelled, nothing was paid";
    default: return (STATUSES[task.status] || task.status).toLowerCase();
  }
}

const reason = (task) => task.error?.message || "";

function missing(task) {
  if (!task.audio?.key && !task.portrait?.key) return "its files are being fetched";
  if (!task.portrait?.key) return "waiting for its portrait";
  if (!task.audio?.key) return "waiting for its voice";
  return task.error?.message || "its files are being checked";
}

function queued(task) {
  const wait = task.not_before ? -secondsSince(task.not_before) : 0;
  const turn = wait > 1 ? `, its turn comes in about ${span(wait)}` : "";
  const place = task.turn ? `about ${ordinal(task.turn)} in the queue` : "in the queue";
  return `${place}${task.waits_for ? `: ${task.waits_for}` : ""}${turn}`;
}

const ORDINALS = new Intl.PluralRules("en", { type: "ordinal" });
const ENDINGS = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinal = (number) => `${number}${ENDINGS[ORDINALS.select(number)]}`;

function inPieces({ pieces }) {
  if (!pieces) return "being made in pieces";
  return `${pieces.done} of ${pieces.all} pieces made${pieces.stopped ? `, ${pieces.stopped} stopped` : ""}`;
}

function atProvider(task, models) {
  const since = task.submitted_at ? ` for ${span(secondsSince(task.submitted_at))}` : "";
  const normally = usual(task, models);
  return `at ${task.provider}${since}${normally ? `, usually ${normally}` : ""}`;
}

/** How far a running task is, 0 to 1, by its pieces or its model's usual time; null where that is not known. */
export function progress(task) {
  if (task.status === "ARCHIVING") return 0.97;
  if (task.status === "IN_PIECES" && task.pieces) return Math.min(0.95, Math.max(0.03, task.pieces.done / task.pieces.all));
  if (task.status !== "SUBMITTED" || !task.usual_seconds || !task.submitted_at) return null;
  const part = secondsSince(task.submitted_at) / task.usual_seconds;
  return Math.min(0.95, Math.max(0.03, part));
}

/** What comes next and when: a line or none. */
export function next(task, models) {
  const in_ = (seconds) => `about ${clock(Date.now() + seconds * 1000)}`;
  switch (task.status) {
    case "WAITING": return { what: "It goes on by itself when its files are there" };
    case "READY": return {
      what: `It is sent to ${task.provider || "the provider"}`,
      when: task.not_before && secondsSince(task.not_before) < 0 ? `not before ${clock(task.not_before)}` : "",
    };
    case "IN_PIECES": return { what: "The pieces are joined when all are made" };
    case "SUBMITTING": return { what: `${task.provider} answers` };
    case "SUBMITTED": {
      const left = (task.usual_seconds || 0) - secondsSince(task.submitted_at || task.changed_at);
      const normally = usual(task, models);
      return {
        what: `The video comes from ${task.provider}`,
        when: left > 0 ? in_(left) : normally ? `later than usual (${normally}); Talkdrop keeps asking` : "",
      };
    }
    case "ARCHIVING": return { what: "The video lies in the archive", when: "in seconds" };
    case "HELD": return { what: "Nothing more is paid until a person decides" };
    default: return null;
  }
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const SECONDS = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A time of today, with the day where it is another. */
export function clock(instant, format = CLOCK) {
  const at = new Date(instant);
  return at.toDateString() === new Date().toDateString() ? format.format(at) : `${DAY.format(at)}, ${CLOCK.format(at)}`;
}

export const seconds = (instant) => clock(instant, SECONDS);

export const exact = (instant) => EXACT.format(new Date(instant));

export function ago(instant) {
  const seconds = secondsSince(instant);
  return seconds < 10 ? "just now" : `${span(seconds)} ago`;
}

const EVENTS = {
  WAITING: "Dropped, waiting for files", READY: "Checked and quoted", IN_PIECES: "Being made in pieces", SUBMITTING: "Being sent",
  SUBMITTED: "Accepted by the provider", ARCHIVING: "The video is there, being archived",
  COMPLETED: "Ready to watch", HELD: "Held for a person", FAILED: "Failed", EXPIRED: "Expired",
  CANCELLED: "Cancelled", AMBIGUOUS: "The provider’s answer was lost",
  SPEECH: "Speech is being bought", BOUGHT: "Speech was bought",
  "PAST CALLBACK": "A callback for an earlier attempt", "SECOND JOB": "A second job was found",
};

/** A line of the history, in words. */
export const event = (what) => EVENTS[what] || what.charAt(0) + what.slice(1).toLowerCase();

export function bytes(count) {
  if (count < 1 << 20) return `${Math.max(1, Math.round(count / 1024))} KB`;
  return `${(count / (1 << 20)).toFixed(1)} MB`;
}
