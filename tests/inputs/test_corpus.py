"""A part of the corpus in seconds; `python -m bench.corpus` does the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.corpus import left_open, walked
from functions.inputs.audio import inspect_audio
from functions.inputs.refusals import NotMedia
from functions.inputs.source import of_bytes
from functions.videos import mp4
from tests.inputs import corpus
from tests.inputs.corpus import Case

SOUNDS, FILMS = corpus.sounds()[::10], corpus.films()[::7]


@pytest.mark.parametrize("case", SOUNDS, ids=lambda case: case.label)
def test_a_sound_lasts_as_long_as_it_is_decoded_and_a_cut_that_loses_any_is_refused(
    case: Case, tmp_path: Path
) -> None:
    content = corpus.make(case, tmp_path, film=False)
    if not case.is_taken:
        with pytest.raises(NotMedia, match="save it as MP3 or WAV"):
            inspect_audio(of_bytes(case.name, content))
        return
    seconds = inspect_audio(of_bytes(case.name, content)).seconds
    real = corpus.decoded(content, case.name, tmp_path, film=False)
    assert seconds == pytest.approx(real, rel=0.02, abs=0.13)
    for size in corpus.cuts(content):
        try:
            left = inspect_audio(of_bytes(case.name, content[:size])).seconds
        except NotMedia:
            continue
        there = corpus.decoded(content[:size], case.name, tmp_path, film=False)
        is_harmless = there == real or corpus.loses_nothing(case, content, size)
        assert is_harmless or corpus.ends_with_a_frame(content, size)
        assert left == pytest.approx(there, rel=0.02, abs=0.05)


@pytest.mark.parametrize("case", FILMS, ids=lambda case: case.label)
def test_a_film_is_whole_and_as_long_as_it_is_decoded_and_no_cut_of_it_is(
    case: Case, tmp_path: Path
) -> None:
    content = corpus.make(case, tmp_path, film=True)
    real = corpus.decoded(content, case.name, tmp_path, film=True)
    assert walked(content) == pytest.approx(real, rel=0.02, abs=0.05)
    for size in corpus.cuts(content):
        try:
            walked(content[:size])
        except mp4.NotAVideo:
            continue
        lost = real - corpus.decoded(content[:size], case.name, tmp_path, film=True)
        assert lost <= left_open(content[:size])
