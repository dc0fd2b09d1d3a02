"""A face that moves, and one that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from functions.segments import cut, motion
from functions.segments.join import Made
from local.simulator import flashes
from tests.segments.conftest import SMALL, Spoken


def test_a_picture_that_changes_is_not_still(
    speak: Callable[..., Spoken], make: Callable[..., list[Made]]
) -> None:
    spoken = speak(3.0)
    made = make(spoken.voice, cut.plan(cut.listen(spoken.voice), SMALL))
    found = motion.measure(made[0].source)
    assert not found.is_still
    assert found.mouth > motion.STILL


def test_a_portrait_that_was_returned_as_it_was_is_still(
    tmp_path: Path, record: Callable[..., object]
) -> None:
    record([0] * 32_000)
    flashes.render((tmp_path / "voice.wav").read_bytes(), tmp_path / "still.mp4")
    assert motion.measure(tmp_path / "still.mp4") == motion.Motion(0.0, 0.0)


def test_a_single_picture_is_still(tmp_path: Path, record: Callable[..., object]) -> None:
    record([0] * 300)
    flashes.render((tmp_path / "voice.wav").read_bytes(), tmp_path / "one.mp4")
    assert motion.measure(tmp_path / "one.mp4").is_still
