"""Where voices are cut, and that their pieces are what was planned, to the sample."""

from __future__ import annotations

import io
import random
import wave
from array import array
from collections.abc import Callable

import pytest

from functions.segments import cut, pieces, voice
from functions.segments.cut import Limits
from functions.segments.pieces import Form
from functions.segments.voice import Voice
from tests.segments.conftest import SMALL, Spoken

RATE = 16_000
Speak = Callable[..., Spoken]
Record = Callable[..., Voice]


def planned(spoken: Voice, limits: Limits = SMALL) -> cut.Plan:
    return cut.plan(cut.listen(spoken), limits)


def noise(seconds: float, loudness: float = 3000) -> list[int]:
    random_ = random.Random(1)
    return [int(random_.gauss(0, loudness)) for _ in range(round(seconds * RATE))]


def silence(seconds: float) -> list[int]:
    return [0] * round(seconds * RATE)


def assert_whole(plan: cut.Plan) -> None:
    """Without a gap from the first sample to the last, and each piece within its limits."""
    assert plan.segments[0].start == 0
    assert plan.sample(plan.segments[-1].end) == plan.samples
    assert [one.end for one in plan.segments[:-1]] == [one.start for one in plan.segments[1:]]
    for one in plan.segments:
        samples = plan.sample(one.end) - plan.sample(one.start)
        assert plan.limits.least_seconds <= samples / plan.rate <= plan.limits.most_seconds


def test_a_voice_of_exactly_the_limit_is_not_cut(record: Record) -> None:
    assert len(planned(record(noise(2.0))).segments) == 1


def test_a_voice_of_0_2_seconds_over_the_limit_makes_two_pieces_that_are_both_long_enough(
    record: Record,
) -> None:
    plan = planned(record(noise(2.2)))
    assert len(plan.segments) == 2
    assert_whole(plan)


def test_a_voice_is_cut_in_its_pauses(speak: Speak) -> None:
    plan = planned(speak(9.0).voice)
    assert_whole(plan)
    assert all(one.in_pause and one.level <= -60 for one in plan.segments)


def test_a_voice_without_a_pause_is_cut_at_its_quietest_place_and_the_plan_says_so(
    record: Record,
) -> None:
    plan = planned(record([*noise(1.5), *noise(0.1, 800), *noise(1.5)]))
    assert_whole(plan)
    first = plan.segments[0]
    assert (first.in_pause, first.end) == (False, 39)  # in the tenth of a second that is less loud
    assert first.why == "no pause within 2 s: the quietest place from 1.00 s on, at -32 dB"


def test_silence_is_cut_as_late_as_what_is_paid_allows(record: Record) -> None:
    plan = planned(record(silence(5.0)))
    assert_whole(plan)
    assert [one.end for one in plan.segments] == [49, 98, 125]
    assert plan.segments[0].why == "a pause after 1.96 s, paid as 2 s"


def test_of_two_pauses_the_one_just_below_a_whole_second_is_taken(record: Record) -> None:
    voice_ = record([*noise(3.6), *silence(0.4), *noise(1.1), *silence(0.2), *noise(3)])
    plan = planned(voice_, Limits(5.4, 0.5))
    assert plan.segments[0].end == 99  # 3.96 s; the later pause would be paid as 6 s


def test_an_early_pause_is_better_than_none(record: Record) -> None:
    plan = planned(record([*noise(0.8), *silence(0.2), *noise(2)]))
    assert plan.segments[0].words == "0.00 s to 0.96 s"
    assert plan.segments[0].why == "the last pause within 2 s"


def test_a_closed_p_is_no_pause(record: Record) -> None:
    plan = planned(record([*noise(1.7), *silence(0.08), *noise(2)]))
    assert not plan.segments[0].in_pause


def test_an_edit_changes_no_cut_before_it(speak: Speak, record: Record) -> None:
    samples = list(speak(9.0).samples)
    changed = [*samples[: 6 * RATE], *noise(0.33), *samples[6 * RATE :]]
    before, after = planned(record(samples)), planned(record(changed))
    # And two pieces of 2 s more are looked at.
    same = [one for one in before.segments if one.start <= 2 * 25]
    assert same
    assert list(after.segments[: len(same)]) == same


def test_a_turned_phase_is_not_silence(tmp_path: object, record: Record) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, RATE, 0, "NONE", ""))
        out.writeframes(array("h", (value for one in noise(1) for value in (one, -one))).tobytes())
    assert min(cut.listen(Voice(file, "audio/wav")).decibels) > -30


@pytest.mark.parametrize("ending", ["wav", "mp3", "m4a", "ogg", "flac"])
def test_every_format_has_the_samples_that_were_spoken(speak: Speak, ending: str) -> None:
    spoken = speak(3.013, ending, 48_000)
    # MP4 rounds its length to a microsecond.
    assert abs(cut.listen(spoken.voice).samples - len(spoken.samples)) <= 1


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_pieces_together_are_the_voice_to_the_sample(
    speak: Speak, rate: int, channels: int
) -> None:
    spoken = speak(5.013, "wav", rate, channels)
    plan = planned(spoken.voice)
    written = [played(one.content) for one in pieces.write(spoken.voice, plan, Form("audio/wav"))]
    assert len(written) >= 3
    assert (
        b"".join(written)
        == array("h", (value for value in spoken.samples for _ in range(channels))).tobytes()
    )


def played(wav: bytes) -> bytes:
    with wave.open(io.BytesIO(wav)) as file:
        frames: bytes = file.readframes(file.getnframes())
        return frames


@pytest.mark.parametrize("content_type", ["audio/mpeg", "audio/mp4"])
def test_an_encoded_piece_is_neither_moved_nor_longer(speak: Speak, content_type: str) -> None:
    spoken = speak(5.0, "wav", 44_100)
    plan = planned(spoken.voice)
    for piece in pieces.write(spoken.voice, plan, Form(content_type, 128_000)):
        heard = b"".join(
            map(voice.pcm, voice.frames(Voice(io.BytesIO(piece.content), content_type)))
        )
        samples = array("h", heard)
        assert 0 <= len(samples) - piece.samples < spoken.rate / 1000
        start = plan.sample(piece.segment.start)
        spoken_here = spoken.samples[start : start + piece.samples]
        beep = next(number for number, value in enumerate(spoken_here) if value > 16_000)
        assert moved(spoken_here, samples, beep) == 0


def moved(original: array[int], heard: array[int], beep: int) -> int:
    """By how many samples what is heard around a beep is late: where the two are most alike."""
    at = max(40, beep - 400)
    window = original[at : at + 1500]
    return max(
        range(-40, 41),
        key=lambda lag: sum(
            a * b for a, b in zip(window, heard[at + lag : at + lag + len(window)], strict=False)
        ),
    )


def test_a_piece_has_one_hash_whatever_it_is_written_as(speak: Speak) -> None:
    spoken = speak(5.0)
    plan = planned(spoken.voice)
    wav, mp3 = (
        [one.pcm_sha256 for one in pieces.write(spoken.voice, plan, form)]
        for form in (Form("audio/wav"), Form("audio/mpeg", 64_000))
    )
    assert wav == mp3
    assert len(set(wav)) == len(wav)


def test_a_piece_that_is_too_large_as_wav_is_written_as_the_model_takes_it(speak: Speak) -> None:
    spoken = speak(5.0, "wav", 48_000, 2)
    plan = planned(spoken.voice)
    form = pieces.choose_form(plan, {"audio/wav", "audio/mpeg"}, 50_000)
    assert form == Form("audio/mpeg", 128_000)
    assert max(len(one.content) for one in pieces.write(spoken.voice, plan, form)) <= 50_000


def test_what_no_format_can_hold_is_refused_with_the_cure(speak: Speak) -> None:
    plan = planned(speak(5.0).voice)
    with pytest.raises(
        pieces.NoForm,
        match=r"fits into 9,000 bytes in none of audio/mpeg: take a model with a larger",
    ):
        pieces.choose_form(plan, {"audio/mpeg"}, 9000)


def test_a_voice_that_was_replaced_meanwhile_is_not_cut_by_the_old_plan(
    speak: Speak, record: Record
) -> None:
    plan = planned(speak(5.0).voice)
    with pytest.raises(pieces.VoiceChanged):
        list(pieces.write(record(noise(4.0)), plan, Form("audio/wav")))


def test_a_playlist_under_a_voices_name_is_not_followed() -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n"
    with pytest.raises(voice.Undecodable):
        cut.listen(Voice(io.BytesIO(playlist), "audio/mpeg"))


def test_limits_between_which_no_rest_fits_are_an_error() -> None:
    with pytest.raises(ValueError, match="no rest could be cut"):
        Limits(2.0, 1.0)
