"""The fleet: each Lambda, how long it may run, with how much memory, what it is told, and why.

The one table of them: the stack deploys it, the tests hold grants and handlers to it, and the fault
model kills invocations at these timeouts. It imports nothing of the CDK.
"""

from __future__ import annotations

from dataclasses import dataclass

from functions.settings import Options

# A whole CPU: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
ONE_CPU_MIB = 1769


@dataclass(frozen=True)
class Lambda:
    """`seconds` is the timeout; `memory_mib` brings a share of a CPU, and importing needs one;
    `settings` are the fields of `functions.settings.Settings` that it gets besides `options`;
    `disk_mib` is what it may write to, and `has_pyav` gives it the bundle with PyAV."""

    seconds: int
    memory_mib: int
    settings: tuple[str, ...]
    why: str
    disk_mib: int = 512
    has_pyav: bool = False


def fleet(options: Options) -> dict[str, Lambda]:
    """Every Lambda by the name of its module in functions/handlers."""
    return {
        "intake": Lambda(
            150, 512, ("table", "inbox", "uploads_queue_url", "submissions_queue_url"),
            "Reads the heads of files, or brings in two media by URL, a minute each.",
        ),
        "api": Lambda(
            29, 512,
            (
                "table", "inbox", "archive", "uploads_queue_url", "submissions_queue_url",
                "dead_letter_urls", "workflow_arn", "pieces_workflow_arn",
            ),
            "An HTTP API waits for 30 seconds at most.",
        ),
        "submit": Lambda(
            submit_seconds(options), 1024,
            (
                "table", "inbox", "uploads_queue_url", "submissions_queue_url", "workflow_arn",
                "pieces_workflow_arn", "callback_base_url", "callback_secret", "provider_secrets",
            ),
            "Must end before its lease does; two media of ten megabytes, as base64 and as JSON, "
            "may be in memory at once.",
        ),
        "callback": Lambda(
            10, 512, ("table", "workflow_arn", "callback_secret"),
            "A provider waits for the answer, kie for 15 seconds.",
        ),
        "watch": Lambda(
            30, 512, ("table", "provider_secrets", "submissions_queue_url"),
            "One query. One that takes longer is made again anyway, and must not pile up behind a "
            "provider that does not answer.",
        ),
        "archive": Lambda(
            900, ONE_CPU_MIB, ("table", "archive"),
            "The longest there is, since the size of a video is not known beforehand; a whole CPU "
            "for TLS in, hash and TLS out.",
        ),
        "settle": Lambda(
            30, 512, ("table", "submissions_queue_url"),
            "One transaction, and the call of the task that waited longest.",
        ),
        "cut": Lambda(
            900, ONE_CPU_MIB, ("table", "inbox", "archive"),
            "Decodes a voice three times, an hour of it in 38 seconds of a whole CPU, and copies "
            "videos of pieces that were made before; the voice lies on the disk.",
            disk_mib=1024, has_pyav=True,
        ),
        "gather": Lambda(
            120, 512, ("table", "inbox", "submissions_queue_url"),
            "Opens hundreds of pieces, a row and a message each, or reads their rows.",
        ),
        "join": Lambda(
            900, ONE_CPU_MIB, ("table", "archive"),
            "Copies an hour of video in 138 seconds of a whole CPU; all pieces and the joined "
            "video lie on the disk, twice some gigabytes.",
            disk_mib=10_240, has_pyav=True,
        ),
        "announce": Lambda(60, 512, ("table", "bus"), "A batch of records of the table's stream."),
        "sweep": Lambda(
            240, 512,
            (
                "table", "inbox", "uploads_queue_url", "submissions_queue_url", "workflow_arn",
                "pieces_workflow_arn",
            ),
            "Must end before the next run starts, five minutes later.",
        ),
    }  # fmt: skip


# Deployed where the context says `notify: daily`.
SUMMARY = Lambda(
    120, 512, ("table", "notice_topic", "stack"),
    "Reads at most a hundred megabytes of an index, a page after the other.",
)  # fmt: skip


def submit_seconds(options: Options) -> int:
    """A submit must be over before its lease is, since then others look for its job. The POST
    alone may take 90."""
    return options.lease_seconds - 15
