"""Where to cut a long voice: at quiet places, on the frame grid, just below a whole second.

    listen(voice) ─▶ Levels ─▶ plan(levels, limits) ─▶ Plan ─▶ pieces.write(voice, plan, form)

A cut stands at a multiple of 1/25 s, so that the frames of the videos fall on one grid and nothing
adds up. A begun second is paid whole, so among the quiet places the one just below a whole second
is chosen. A cut depends only on what is heard in the time of two pieces behind the one before it:
an edit further on changes none of those before. Where an earlier voice was cut that this one is an
edit of, it is cut again at the same samples, on the grid or beside it (`Kept`).
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import mul

from av.audio.resampler import AudioResampler

from functions.segments import marks
from functions.segments import voice as voices
from functions.segments.marks import Kept, Marker
from functions.segments.voice import Voice

FRAMES_PER_SECOND = 25
_LEVELS_PER_FRAME = 2  # of 20 ms
# Keeps what an s is heard by (up to 8 kHz): at 8,000 samples it would pass for silence.
_LEVEL_RATE = 16_000
_LEVEL_SAMPLES = _LEVEL_RATE // (FRAMES_PER_SECOND * _LEVELS_PER_FRAME)

SILENCE_DECIBELS = -120.0
_QUIET_DECIBELS = -60.0  # this is quiet beside any voice
# And so is what lies so far below the voice around it: clearly a pause, or else a shallow one (a
# noisy room).
_BELOW_VOICE_DECIBELS = (25.0, 15.0)
_PAUSE_LEVELS = 6  # a pause is quiet for 120 ms: a closed p or t is quiet, too, but not for so long
_ALIKE_DECIBELS = 1.0  # nobody hears the difference between two places of a voice without pauses
_EARLIEST = 0.5  # of the limit: earlier cuts only where there is no pause behind
# Looked at with the piece behind them; a limit of minutes has hundreds, and many that serve.
_LIKELY_PAUSES = 40
# A join is worth so much of a paid second, or pieces would become short for a few hundredths.
_JOIN_SECONDS = 0.1


@dataclass(frozen=True)
class Levels:
    """How loud a voice is, in dB below full scale, for each 20 ms; and how long it is, in
    samples."""

    decibels: array[float]
    samples: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


@dataclass(frozen=True)
class Limits:
    """What one piece may last, in seconds. `spare_frames`: a piece counts as longer by so many,
    since what the provider measures includes an encoder's padding, and 14.00 s may be paid as
    15."""

    most_seconds: float
    least_seconds: float = 0.5
    spare_frames: int = 1

    def __post_init__(self) -> None:
        if self.most_seconds < 2 * self.least_seconds + 1:
            lengths = f"{self.least_seconds:g} to {self.most_seconds:g} s"
            message = f"pieces of {lengths}: no rest could be cut to that"
            raise ValueError(
                f"{message}; the longest must be over twice the shortest and a second more"
            )

    @property
    def most(self) -> int:
        return math.floor(self.most_seconds * FRAMES_PER_SECOND + 1e-9)

    @property
    def least(self) -> int:
        return math.ceil(self.least_seconds * FRAMES_PER_SECOND - 1e-9)

    def paid_seconds(self, frames: float) -> int:
        return max(1, math.ceil((frames + self.spare_frames) / FRAMES_PER_SECOND - 1e-9))


@dataclass(frozen=True)
class Segment:
    """A piece of a voice, from frame `start` up to frame `end` of 1/25 s; beside the grid where an
    earlier cut was moved by a part of a frame. `level` is the louder of the 20 ms before and behind
    its end, in dB; `why` says in words why it ends there, and `in_pause` whether it does so in a
    pause."""

    number: int
    start: float
    end: float
    level: float
    why: str
    in_pause: bool = True

    @property
    def frames(self) -> float:
        return self.end - self.start

    @property
    def words(self) -> str:
        return f"{self.start / FRAMES_PER_SECOND:.2f} s to {self.end / FRAMES_PER_SECOND:.2f} s"


@dataclass(frozen=True)
class Plan:
    """A voice of `samples` at `rate`, and its segments without a gap. The last one ends with the
    voice: its `end` is the first frame that begins no earlier."""

    samples: int
    rate: int
    channels: int
    limits: Limits
    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def paid_seconds(self) -> tuple[int, ...]:
        """Begun seconds of each piece, as providers count them."""
        ends = [*(one.end for one in self.segments[:-1]), self.seconds * FRAMES_PER_SECOND]
        return tuple(
            self.limits.paid_seconds(end - one.start)
            for one, end in zip(self.segments, ends, strict=True)
        )

    def sample(self, frame: float) -> int:
        """The first sample of a frame. Rounded where the rate is no multiple of 25, from 0 on:
        nothing adds up."""
        return min(self.samples, round(frame * self.rate / FRAMES_PER_SECOND))


def frame_at(sample: int, rate: int) -> float:
    """The frame that a sample lies at: a whole number on the grid."""
    frame = sample * FRAMES_PER_SECOND / rate
    return int(frame) if frame.is_integer() else frame


def listen(voice: Voice, marker: Marker | None = None) -> Levels:
    """Decode the voice once, for `marker` as well. Raises Undecodable."""
    decibels = array("f")
    waiting = bytearray()
    resampler: AudioResampler | None = None
    samples = rate = channels = 0
    for frame in voices.frames(voice):
        samples, rate, channels = (
            samples + frame.samples,
            frame.sample_rate,
            frame.layout.nb_channels,
        )
        if marker is not None:
            marker.hear(voices.pcm(frame), channels, rate)
        resampler = resampler or AudioResampler("s16", frame.layout, _LEVEL_RATE)
        for resampled in resampler.resample(frame):
            waiting += voices.pcm(resampled)
        _measure(waiting, channels, decibels)
    for resampled in resampler.resample(None) if resampler else ():
        waiting += voices.pcm(resampled)
    _measure(waiting, channels, decibels, last=True)
    if not samples:
        raise voices.Undecodable("it holds no sound that can be decoded: make it anew")
    return Levels(decibels, samples, rate, channels)


def _measure(
    waiting: bytearray, channels: int, decibels: array[float], *, last: bool = False
) -> None:
    """Move what is whole from `waiting` to `decibels`. All channels count: their mean would cancel
    a turned phase."""
    size = _LEVEL_SAMPLES * channels * voices.BYTES_PER_SAMPLE
    whole = len(waiting) if last else len(waiting) // size * size
    decibels.extend(_level(waiting[start : start + size]) for start in range(0, whole, size))
    del waiting[:whole]


def _level(samples: bytes | bytearray) -> float:
    values = array("h", bytes(samples))
    power = sum(map(mul, values, values)) / len(values) / 32768**2
    return max(SILENCE_DECIBELS, 10 * math.log10(power)) if power else SILENCE_DECIBELS


def plan(levels: Levels, limits: Limits, kept: Iterable[Kept] = ()) -> Plan:
    """Cut as late as the limit allows, at pauses if there are any, and where an earlier plan did.
    One segment if the voice needs no cut."""
    segments: list[Segment] = []
    whole = levels.seconds * FRAMES_PER_SECOND
    least, most = (one * FRAMES_PER_SECOND for one in (limits.least_seconds, limits.most_seconds))
    for one in marks.fitting(kept, least, most, whole):
        segments += _between(levels, limits, segments, one.start, "up to where it was cut before")
        number, level = len(segments) + 1, _around(levels, one.end)
        segments.append(Segment(number, one.start, one.end, level, one.why, one.in_pause))
    segments += _between(levels, limits, segments, whole, "the end of the voice")
    last = segments[-1]
    end = max(math.floor(last.start) + 1, math.ceil(whole - 1e-9))
    segments[-1] = Segment(last.number, last.start, end, SILENCE_DECIBELS, "the end of the voice")
    return Plan(levels.samples, levels.rate, levels.channels, limits, tuple(segments))


def _between(
    levels: Levels, limits: Limits, before: Sequence[Segment], end: float, why: str
) -> Iterator[Segment]:
    """The segments from the last one on, up to this frame."""
    start: float = before[-1].end if before else 0
    number = len(before) + 1
    while (end - start) / FRAMES_PER_SECOND > limits.most_seconds + 1e-9:
        one = _next(levels, limits, number, start, end)
        yield one
        start, number = one.end, number + 1
    if end - start > marks.ROUNDING:
        yield Segment(number, start, end, _around(levels, end), why)


def _next(levels: Levels, limits: Limits, number: int, start: float, until: float) -> Segment:
    # What remains behind the cut must be long enough for a piece of its own.
    rest = limits.least_seconds * FRAMES_PER_SECOND
    last = min(math.floor(start + limits.most), math.floor(until - rest + 1e-9))
    first = min(last, math.ceil(start) + max(limits.least, math.ceil(_EARLIEST * limits.most)))
    voice = _voice_level(levels, start, start + limits.most)
    for below in _BELOW_VOICE_DECIBELS:
        if pauses := _pauses(levels, range(first, last + 1), voice - below):
            end = _cheapest(levels, limits, start, until, pauses, voice - below)
            paid = limits.paid_seconds(end - start)
            why = f"a pause after {_seconds(end - start)} s, paid as {paid} s"
            return Segment(number, start, end, _around(levels, end), why)
    if pauses := _pauses(levels, range(math.ceil(start) + limits.least, first), voice - below):
        end = pauses[-1]
        why = f"the last pause within {limits.most_seconds:g} s"
        return Segment(number, start, end, _around(levels, end), why)
    return _quietest(levels, limits, number, start, range(first, last + 1))


def _quietest(levels: Levels, limits: Limits, number: int, start: float, frames: range) -> Segment:
    quietest = min(_around(levels, frame) for frame in frames)
    places = [frame for frame in frames if _around(levels, frame) <= quietest + _ALIKE_DECIBELS]
    end = min(places, key=lambda frame: (_cost(limits, frame - start), -frame))
    why = (
        f"no pause within {limits.most_seconds:g} s: the quietest place from "
        f"{_seconds(frames[0] - start)} s on, at {_around(levels, end):.0f} dB"
    )
    return Segment(number, start, end, _around(levels, end), why, in_pause=False)


def _cheapest(
    levels: Levels,
    limits: Limits,
    start: float,
    until: float,
    pauses: Iterable[int],
    quiet_below: float,
) -> int:
    """The pause after which this piece and the next cost least for each second of voice; at equal
    cost the later."""

    def cost(end: int) -> tuple[float, int]:
        rest = until - end
        if rest <= limits.most_seconds * FRAMES_PER_SECOND:
            return _cost(limits, end - start, rest), -end
        window = range(end + math.ceil(_EARLIEST * limits.most), end + limits.most + 1)
        lengths = [pause - end for pause in _pauses(levels, window, quiet_below)]
        return min(
            (_cost(limits, end - start, one) for one in lengths), default=_cost(limits, end - start)
        ), -end

    likely = heapq.nsmallest(
        _LIKELY_PAUSES, pauses, key=lambda end: (_cost(limits, end - start), -end)
    )
    return min(likely, key=cost)


def _cost(limits: Limits, *pieces: float) -> float:
    """Paid and not used, and a join each, for each second of voice."""
    seconds = sum(pieces) / FRAMES_PER_SECOND
    return (sum(map(limits.paid_seconds, pieces)) - seconds + len(pieces) * _JOIN_SECONDS) / seconds


def _voice_level(levels: Levels, start: float, end: float) -> float:
    """How loud the voice is between two frames: a fifth of the time it is louder."""
    first, last = (math.floor(frame * _LEVELS_PER_FRAME) for frame in (start, end))
    heard = sorted(levels.decibels[first:last])
    return heard[len(heard) * 4 // 5]


def _pauses(levels: Levels, frames: Iterable[int], quiet_below: float) -> list[int]:
    quiet_below = max(quiet_below, _QUIET_DECIBELS)
    return [
        frame
        for frame in frames
        if _is_in_pause(levels.decibels, frame * _LEVELS_PER_FRAME, quiet_below)
    ]


def _is_in_pause(decibels: array[float], place: int, quiet_below: float) -> bool:
    """Whether it is quiet for 20 ms at least on either side, and for the length of a pause in
    all."""
    first, end = place, place
    while end < min(place + _PAUSE_LEVELS, len(decibels)) and decibels[end] <= quiet_below:
        end += 1
    if end == place:
        return False
    while first > max(0, place - _PAUSE_LEVELS) and decibels[first - 1] <= quiet_below:
        first -= 1
    return first < place and end - first >= _PAUSE_LEVELS


def _around(levels: Levels, frame: float) -> float:
    """The louder of the 20 ms before and behind a frame's beginning."""
    middle = math.floor(frame * _LEVELS_PER_FRAME)
    return max(levels.decibels[max(0, middle - 1) : middle + 1], default=SILENCE_DECIBELS)


def _seconds(frames: float) -> str:
    return f"{frames / FRAMES_PER_SECOND:.2f}"
