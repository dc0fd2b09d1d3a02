"""Beep and flash through the whole embedded run: `python -m bench.seams [SECONDS]`, 600 by default.

A voice of sentences, a beep in each, is dropped with `long_voice: split`. The simulated model
flashes where its piece beeps, and returns up to five frames too many. Of the video that is archived
then: by how much is the voice moved, how far are lips from voice, and how long is it?

Ends with 1 if the voice is moved, lips are over one frame from it, or the length is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from local import environment
from local.environment import Environment
from local.screen import Screen
from tests.segments.conftest import saved, sentences
from tests.segments.test_cut import moved
from tests.segments.test_join import FRAME, Watched, watched

RATE = 44_100
KEY = "lecture/talk.mp3"
SETTINGS = {"model": "infinitalk/from-audio", "long_voice": "split", "max_usd": 30}
PORTRAIT = Path(environment.__file__).parent / "samples" / "portrait.png"


def main() -> int:
    seconds = float(sys.argv[1]) if sys.argv[1:] else 600.0
    samples, beeps = sentences(seconds, RATE, seed=1)
    screen = Screen()
    running = environment.start(screen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            event, took = _made(running, saved(samples, folder, "talk.mp3", RATE, 2), seconds)
            seen, pieces = _archived(running, event, folder)
        finally:
            running.stop()
    late = {moved(samples, seen.samples, round(beep * RATE)) for beep in beeps}
    off = [flash - beep for flash, beep in zip(seen.flashes, beeps, strict=True)]
    longer = seen.ends_at - len(samples) / RATE
    surplus = [one["frames_surplus"] for one in pieces]
    screen.plain(
        f"{seconds:g} s of voice, {len(pieces)} pieces, up to {max(surplus)} frames too long, "
        f"{took:.0f} s from drop to event\n"
        f"voice moved by {sorted(late)} samples at {len(beeps)} beeps\n"
        f"lips against voice: median {median(off) * 1000:+.0f} ms, "
        f"{min(off) * 1000:+.0f} to {max(off) * 1000:+.0f} ms; length {longer * 1000:+.0f} ms"
    )
    return int(late != {0} or max(map(abs, off)) > FRAME or abs(longer) > FRAME)


def _made(running: Environment, voice: Path, seconds: float) -> tuple[Any, float]:
    assert running.simulator is not None
    running.simulator.control("POST", "faults", {"fault": "flash", "surplus": 5})
    began = time.monotonic()
    running.drop("lecture/talk.json", json.dumps(SETTINGS).encode())
    running.drop("lecture/talk.png", PORTRAIT.read_bytes())
    running.drop(KEY, voice.read_bytes())
    ends = ("Task Completed", "Task Failed", "Task Held")
    event = running.listener.until(lambda one: one["detail-type"] in ends, 120 + 2 * seconds)
    if event["detail-type"] != "Task Completed":
        raise SystemExit(f"{event['detail-type']}: {event['detail'].get('error')}")
    return event, time.monotonic() - began


def _archived(running: Environment, event: Any, folder: Path) -> tuple[Watched, list[Any]]:
    video, s3 = event["detail"]["video"], running.cloud.client("s3")
    path = folder / "joined.mp4"
    s3.download_file(video["bucket"], video["key"], str(path))
    manifest = s3.get_object(Bucket=video["bucket"], Key=video["manifest_key"])["Body"].read()
    return watched(path, RATE), json.loads(manifest)["pieces"]


if __name__ == "__main__":
    raise SystemExit(main())
