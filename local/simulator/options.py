"""Everything about the simulator that can be set: by keyword in `start()`, by flag on the command
line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _option(default: Any, says: str, among: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": says, "among": among})


@dataclass(frozen=True)
class Options:
    """The defaults are what evidence says about the real providers; each switch has a documented
    alternative."""

    port: int = _option(
        0, "first port; the listeners take this one and the next seven (0: free ports)"
    )
    bind: str = _option("127.0.0.1", "address to listen on")
    advertise: str = _option(
        "", "host name or address written into result links, if not the bound one"
    )
    speed: float = _option(1.0, "simulator seconds that pass in a real second")
    state: str = _option(
        "", "directory that keeps jobs, ledger, videos and ports over a restart (empty: forget)"
    )
    callbacks: bool = _option(True, "send callbacks (no: every one is lost)")
    renderers: int = _option(2, "videos rendered at the same time")
    job_seconds: float = _option(
        -1.0, "how long a job takes, without its voice (-1: each provider's usual time)"
    )
    job_seconds_per_second: float = _option(
        -1.0, "and how much longer for each second of voice (-1: as above)"
    )
    job_spread: float = _option(
        0.0, "how job times vary: the sigma of a log-normal factor around 1 (0: not at all)"
    )
    queue_seconds: float = _option(
        0.0, "how much longer a job takes for each one that runs already"
    )
    moderation: float = _option(0.0, "share of jobs that moderation refuses, from 0 to 1")
    record_days: float = _option(60.0, "days after which the record of a job is gone")
    charge_at: str = _option(
        "usual",
        "when money is taken: each provider's usual moment, at create, start or end",
        ("usual", "create", "start", "end"),
    )
    refunds: str = _option(
        "usual",
        "what a failed job that was charged gives back: all of it, half, nothing, or all late",
        ("usual", "none", "partial", "late"),
    )
    rate_limit_headers: bool = _option(
        False, "Retry-After and X-RateLimit-… on refusals for too many requests"
    )
    seed: int = _option(0, "of all that is left to chance (0: another one each time)")
    verbose: bool = _option(
        False, "print one line for each request (never a key or a query string)"
    )

    kie_key: str = _option("kie-simulated-key", "the API key kie accepts")
    kie_credits: float = _option(100_000.0, "credits on the kie account at the start")
    kie_shape: str = _option(
        "recorded", "answers as recorded on the wire or as documented", ("recorded", "documented")
    )
    kie_status: str = _option(
        "body", "refusals under HTTP 200, or under their own status", ("body", "real")
    )
    kie_states: str = _option(
        "waiting",
        "words of a running job: only one of them, or one after the other",
        ("waiting", "generating", "all"),
    )
    kie_creates_per_10s: int = _option(20, "creates kie takes in any 10 seconds")
    kie_queries_per_second: int = _option(10, "queries kie answers in any second (0: no limit)")
    kie_hmac_key: str = _option("", "sign kie's callbacks with this key (empty: not signed)")
    kie_link_hours: float = _option(
        24.0, "hours a kie result link lives (its documentation says 24 hours and 14 days)"
    )

    kie_encoding: str = _option(
        "gzip",
        "how kie's answers are encoded, for clients that accept it (690 of 691 recorded were)",
        ("gzip", "chunked", "plain"),
    )
    kie_infinitalk_seconds: float = _option(
        15.0, "longest voice that infinitalk/from-audio takes (0: no limit)"
    )
    kie_long_voice: str = _option(
        "refuse", "a voice that is longer: refused at create, or failed later", ("refuse", "fail")
    )
    kie_failures: str = _option(
        "record",
        "how recordInfo reports a failed job: a record, or code 501 with null data",
        ("record", "envelope"),
    )

    kling_key: str = _option("kling-simulated-key", "the API key Kling accepts")
    kling_access_key: str = _option("AK_simulated", "the access key of Kling's older JWT way")
    kling_secret_key: str = _option("SK_simulated", "and its secret key")
    kling_units: float = _option(5_000.0, "units in Kling's resource pack at the start")
    kling_slots: int = _option(5, "jobs Kling runs at the same time (0: no limit)")
    kling_webhook_secret: str = _option(
        "", "sign Kling's callbacks with this whsec_… secret; two, by comma: both sign"
    )
    kling_duplicates: str = _option(
        "refuse",
        "the same external_task_id twice: refused in words, with the generic text, or accepted",
        ("refuse", "generic", "accept"),
    )
    kling_blanks: str = _option(
        "accept", "an empty string in a field that is not used", ("accept", "refuse")
    )
    kling_unknown_task: str = _option(
        "1203", "what a query for an unknown job gets", ("1203", "1201")
    )

    kling_lookup: str = _option(
        "both", "a query finds a job by either id, or by Kling's own only", ("both", "own")
    )
    kling_tts: str = _option(
        "at-once", "speech is in the first answer, or a job to be queried", ("at-once", "job")
    )
    kling_list_order: str = _option("newest", "the list begins with these", ("newest", "oldest"))
    kling_list_lag_seconds: float = _option(0.0, "a younger job is not listed yet")
    kling_list_page: int = _option(0, "most jobs in a page, whatever is wanted (0: as wanted)")

    comet_key: str = _option("comet-simulated-key", "the API key CometAPI accepts")
    comet_avatar_query: bool = _option(
        True, "answer on …/videos/avatar/image2video/{id} (no: only on the fallback)"
    )

    comet_prompt: str = _option(
        "required", "whether a create without a prompt is refused", ("required", "optional")
    )

    relay_key: str = _option("relay-simulated-key", "the API key the three relays accept")
    relay_rewrites: str = _option(
        "usual",
        "ids of the relay's own: usual is no for A, yes for B and D",
        ("usual", "yes", "no"),
    )
    relay_external_ids: str = _option(
        "keep", "what a relay does with external_task_id", ("keep", "drop")
    )
    relay_charges_failures: bool = _option(False, "a relay keeps the money of a failed job")
