"""Beep and flash: where the voice beeps the picture flashes, at every seam, whatever the model
returned too much."""

from __future__ import annotations

import io
import random
import subprocess
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import av
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from functions.segments import cut, join
from functions.segments.join import Joined, Made, Unjoinable
from functions.segments.voice import Voice
from functions.videos import mp4
from tests.segments.conftest import SMALL, Spoken
from tests.segments.test_cut import moved

Speak = Callable[..., Spoken]
Make = Callable[..., list[Made]]
FRAME = 0.04


@dataclass(frozen=True)
class Watched:
    """What a viewer gets: when it flashes, when a picture changes, when the last picture ends; the
    voice as played."""

    flashes: list[float]
    times: list[float]
    ends_at: float
    samples: array[int]
    begins_at: float


def watched(path: Path, rate: int) -> Watched:
    with av.open(str(path)) as container:
        shown = [(frame.time, light_of(frame)) for frame in container.decode(video=0)]
        film = container.streams.video[0]
        assert film.duration is not None
        assert film.time_base is not None
        ends_at = film.duration * film.time_base
    with av.open(str(path)) as container:
        begins_at = next(container.decode(audio=0)).time
    assert begins_at is not None
    play = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        path,
        "-vn",
        "-ac",
        "1",
        "-ar",
        str(rate),
        "-f",
        "s16le",
        "-",
    ]
    samples = array("h", subprocess.run(play, check=True, capture_output=True).stdout)
    flashes = [time for (_, before), (time, light) in pairwise(shown) if before < 130 < light]
    return Watched(flashes, [time for time, _ in shown], float(ends_at), samples, begins_at)


def light_of(frame: av.VideoFrame) -> int:
    return bytes(frame.planes[0])[32 * frame.planes[0].line_size + 32]


def joined(
    spoken: Spoken, make: Make, tmp_path: Path, **more: object
) -> tuple[cut.Plan, Joined, Watched]:
    plan = cut.plan(cut.listen(spoken.voice), SMALL)
    result = join.join(
        spoken.voice, plan, make(spoken.voice, plan, **more), tmp_path / "joined.mp4", tmp_path
    )
    return plan, result, watched(tmp_path / "joined.mp4", spoken.rate)


def assert_in_step(spoken: Spoken, starts: Iterable[int], seen: Watched) -> None:
    """Voice moved 0 ms, lips against voice at most one frame, everywhere; length within one
    frame. At each of the `starts`, frames of 1/25 s, a piece begins."""
    assert seen.begins_at == 0
    assert {
        moved(spoken.samples, seen.samples, round(beep * spoken.rate)) for beep in spoken.beeps
    } == {0}
    assert abs(len(seen.samples) - len(spoken.samples)) <= FRAME * spoken.rate
    assert len(seen.flashes) == len(spoken.beeps)
    off = [flash - beep for flash, beep in zip(seen.flashes, spoken.beeps, strict=True)]
    assert max(map(abs, off)) <= FRAME, off
    assert abs(seen.ends_at - spoken.seconds) <= FRAME
    assert all(min(abs(time - start * FRAME) for time in seen.times) < 0.001 for start in starts)


def starts_of(plan: cut.Plan) -> list[int]:
    return [one.start for one in plan.segments]


@pytest.mark.parametrize("ending", ["wav", "mp3", "m4a"])
@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_lips_fit_the_voice_at_every_seam(
    speak: Speak, make: Make, tmp_path: Path, ending: str, rate: int, channels: int
) -> None:
    spoken = speak(7.013, ending, rate, channels)
    plan, result, seen = joined(spoken, make, tmp_path)
    assert len(plan.segments) >= 4
    assert (result.reencoded, result.held) == ({}, {})
    assert result.surplus[3] == 5
    assert_in_step(spoken, starts_of(plan), seen)


@pytest.mark.parametrize("ending", ["ogg", "flac"])
def test_other_voices_fit_as_well(speak: Speak, make: Make, tmp_path: Path, ending: str) -> None:
    spoken = speak(5.0, ending, 22_050)
    plan, _, seen = joined(spoken, make, tmp_path)
    assert_in_step(spoken, starts_of(plan), seen)


def test_missing_frames_are_held_and_move_nothing_behind_them(
    speak: Speak, make: Make, tmp_path: Path
) -> None:
    spoken = speak()
    plan, result, seen = joined(spoken, make, tmp_path, surplus=(-1, -3, 0, -2, -1))
    assert result.held[2] == 3
    assert_in_step(spoken, starts_of(plan), seen)


def test_random_surplus_never_adds_up(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(20.0, "wav", 8000, seed=3)
    surplus = tuple(random.Random(2).randint(-2, 9) for _ in range(20))
    plan, _, seen = joined(spoken, make, tmp_path, surplus=surplus)
    assert len(plan.segments) > 9
    assert_in_step(spoken, starts_of(plan), seen)


def test_the_result_passes_the_proof_of_the_archive(
    speak: Speak, make: Make, tmp_path: Path
) -> None:
    spoken = speak(3.0)
    joined(spoken, make, tmp_path)
    walk = mp4.Walk()
    walk.feed((tmp_path / "joined.mp4").read_bytes())
    assert abs(walk.finish() - 3.0) <= FRAME


def test_its_index_stands_in_front(speak: Speak, make: Make, tmp_path: Path) -> None:
    joined(speak(3.0), make, tmp_path)
    content = (tmp_path / "joined.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_pictures_are_copied_bit_by_bit(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(5.0)
    plan = cut.plan(cut.listen(spoken.voice), SMALL)
    made = make(spoken.voice, plan, surplus=(0,))
    join.join(spoken.voice, plan, made, tmp_path / "joined.mp4", tmp_path)
    assert pictures(tmp_path / "joined.mp4") == [
        one for piece in made for one in pictures(Path(str(piece.source)))
    ]


def pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (
            {"options": {"preset": "ultrafast", "bf": "0", "profile": "baseline"}},
            "other encoder settings (SPS, PPS)",
        ),
        ({"width": 96, "height": 96}, "96 × 96 pixels beside 64 × 64"),
    ],
)
def test_a_piece_from_another_encoder_is_encoded_again_alone(
    speak: Speak, make: Make, tmp_path: Path, how: dict[str, object], why: str
) -> None:
    spoken = speak()
    plan, result, seen = joined(spoken, make, tmp_path, piece_2=how, piece_4=how)
    assert result.reencoded == {2: why, 4: why}
    assert_in_step(spoken, starts_of(plan), seen)
    decode: list[str | Path] = [
        "-i",
        tmp_path / "joined.mp4",
        "-fps_mode",
        "passthrough",
        "-f",
        "framehash",
        "-",
    ]
    errors = subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", *decode],
        check=True, capture_output=True,
    )  # fmt: skip
    assert errors.stderr == b""


def test_a_piece_at_30_frames_a_second_keeps_its_own_rate(
    speak: Speak, make: Make, tmp_path: Path
) -> None:
    spoken = speak()
    how = {"frames_per_second": 30}
    plan, _, seen = joined(
        spoken, make, tmp_path, surplus=(0, 2), **{f"piece_{number}": how for number in range(1, 9)}
    )
    assert_in_step(spoken, starts_of(plan), seen)


def test_a_piece_of_another_shape_is_refused_and_it_says_which_seconds(
    speak: Speak, make: Make, tmp_path: Path
) -> None:
    with pytest.raises(
        Unjoinable, match=r"piece 2 \(1\.\d\d s to 3\.\d\d s\): .* another aspect ratio"
    ):
        joined(speak(), make, tmp_path, piece_2={"width": 96})


@pytest.mark.parametrize(("surplus", "why"), [(-20, "0.80 s shorter"), (40, "1.60 s longer")])
def test_a_piece_of_another_length_is_refused(
    speak: Speak, make: Make, tmp_path: Path, surplus: int, why: str
) -> None:
    with pytest.raises(Unjoinable, match=f"piece 1 .*: it is {why} than its part of the voice"):
        joined(speak(), make, tmp_path, surplus=(surplus, 0))


def test_a_piece_that_is_no_video_is_refused(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(3.0)
    plan = cut.plan(cut.listen(spoken.voice), SMALL)
    made = make(spoken.voice, plan)
    Path(str(made[1].source)).write_bytes(b"<html>gone</html>")
    with pytest.raises(Unjoinable, match=r"piece 2 .* cannot be decoded as video/mp4"):
        join.join(spoken.voice, plan, made, tmp_path / "joined.mp4", tmp_path)


def test_pieces_of_another_plan_are_an_error(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(5.0)
    plan = cut.plan(cut.listen(spoken.voice), SMALL)
    with pytest.raises(ValueError, match="not those of the plan"):
        join.join(
            spoken.voice, plan, make(spoken.voice, plan)[1:], tmp_path / "joined.mp4", tmp_path
        )


def test_pieces_and_voice_may_be_open_files(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(5.0, "m4a")
    voice = Voice(
        io.BytesIO(Path(str(spoken.voice.source)).read_bytes()), spoken.voice.content_type
    )
    plan = cut.plan(cut.listen(voice), SMALL)
    made = [
        replace(one, source=io.BytesIO(Path(str(one.source)).read_bytes()))
        for one in make(voice, plan)
    ]
    join.join(voice, plan, made, tmp_path / "joined.mp4", tmp_path)
    assert_in_step(spoken, starts_of(plan), watched(tmp_path / "joined.mp4", spoken.rate))


def test_one_piece_is_joined_as_well(speak: Speak, make: Make, tmp_path: Path) -> None:
    spoken = speak(1.9)
    plan, _, seen = joined(spoken, make, tmp_path, surplus=(5,))
    assert len(plan.segments) == 1
    assert seen.begins_at == 0
    assert abs(seen.ends_at - 1.9) <= FRAME


def test_a_voice_of_silence_is_joined(
    make: Make, record: Callable[..., Voice], tmp_path: Path
) -> None:
    voice = record([0] * 16_000 * 5)
    plan = cut.plan(cut.listen(voice), SMALL)
    join.join(voice, plan, make(voice, plan), tmp_path / "joined.mp4", tmp_path)
    seen = watched(tmp_path / "joined.mp4", 16_000)
    assert (seen.begins_at, set(seen.samples)) == (0, {0})
    assert abs(seen.ends_at - 5.0) <= FRAME
