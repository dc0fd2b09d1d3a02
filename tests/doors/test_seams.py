"""Beep and flash through the real cut and join: the voice as dropped, its pieces as they lie in the
inbox, videos that are a few frames too long or too short, and what lies in the archive then."""

from __future__ import annotations

import json
from array import array
from functools import cache
from pathlib import Path

import pytest

from functions.handlers import intake, join
from functions.segments.voice import Voice
from functions.tasks import plans
from functions.tasks.task import Task
from functions.videos import bucket, paths
from local.simulator import flashes
from tests.doors.conftest import PORTRAIT, Workshop, dropped, sqs_event
from tests.doors.test_long_voice import (
    LAMBDA,
    SPLIT,
    archived,
    cut_it,
    look,
    named,
    pieces_of,
)
from tests.segments.conftest import TYPES, Spoken, saved, sentences
from tests.segments.test_join import Watched, assert_in_step, watched

SECONDS = 39.013  # no beep in its last tenth, where it may be cut off


@cache
def sentences_at(rate: int) -> tuple[array[int], tuple[float, ...]]:
    return sentences(SECONDS, rate, seed=7)


def drop(shop: Workshop, voice: Path) -> Task:
    key = f"in/talk{voice.suffix}"
    shop.drop(key, voice.read_bytes())
    shop.drop("in/talk.png", PORTRAIT)
    shop.drop("in/talk.json", json.dumps(SPLIT).encode())
    intake.handler(sqs_event(dropped(shop.inbox, key)), LAMBDA)
    return shop.the_task()


def make_pieces(shop: Workshop, task: Task, folder: Path, surplus: tuple[int, ...]) -> None:
    """The model: each piece's video, as long as `surplus` has it."""
    for number, piece in enumerate(pieces_of(task)):
        sound = shop.s3.get_object(Bucket=shop.inbox, Key=piece.audio["key"])["Body"].read()
        path = folder / f"{number}.mp4"
        flashes.render(sound, path, surplus=surplus[number % len(surplus)])
        archived(shop, piece, path.read_bytes())


def joined(shop: Workshop, task: Task, folder: Path, rate: int) -> tuple[Watched, list[object]]:
    """What lies in the archive, and the manifest's lines about the pieces."""
    join.handler(named(task), LAMBDA)
    path = paths.of(task)
    video = folder / "joined.mp4"
    video.write_bytes(shop.s3.get_object(Bucket=path.bucket, Key=path.key)["Body"].read())
    lines = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")["pieces"]
    return watched(video, rate), [line["frames_surplus"] - line["frames_held"] for line in lines]


def through(shop: Workshop, spoken: Spoken, folder: Path, surplus: tuple[int, ...]) -> list[object]:
    """By how many frames each piece was too long, as the manifest says."""
    task = drop(shop, Path(str(spoken.voice.source)))
    plan = cut_it(task)
    task = look(task)
    make_pieces(shop, task, folder, surplus)
    seen, off = joined(shop, look(task), folder, spoken.rate)
    assert len(list(plans.ids_of_pieces(task))) == len(plan.pieces) >= 3
    assert_in_step(spoken, [one.start for one in plan.pieces], seen)
    return off


@pytest.mark.parametrize(
    ("ending", "rate", "channels"),
    [
        ("wav", 44_100, 1),
        ("wav", 48_000, 2),
        ("mp3", 44_100, 2),
        ("mp3", 48_000, 1),
        ("m4a", 44_100, 1),
        ("m4a", 48_000, 2),
    ],
)
def test_lips_fit_the_voice_at_every_seam_from_the_drop_to_the_archive(
    shop: Workshop, tmp_path: Path, ending: str, rate: int, channels: int
) -> None:
    samples, beeps = sentences_at(rate)
    path = saved(samples, tmp_path, f"talk.{ending}", rate, channels)
    spoken = Spoken(Voice(path, TYPES[ending]), samples, rate, beeps)
    surplus = (0, 5, 2, 4)
    off = through(shop, spoken, tmp_path, surplus)
    assert off == [surplus[number % 4] for number in range(len(off))]


def test_pieces_that_are_too_short_move_nothing_from_the_drop_to_the_archive(
    shop: Workshop, tmp_path: Path
) -> None:
    samples, beeps = sentences_at(44_100)
    path = saved(samples, tmp_path, "talk.mp3", 44_100, 1)
    spoken = Spoken(Voice(path, "audio/mpeg"), samples, 44_100, beeps)
    off = through(shop, spoken, tmp_path, (-2, 5, -4, 0))
    assert off[:3] == [-2, 5, -4]
