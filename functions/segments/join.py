"""Join the videos of a voice's segments: their pictures copied, the customer's own voice laid over
them once, whole.

    scan every piece ─▶ re-encode those that differ ─▶ mux, interleaved:
        pictures, each piece pinned to its place, and the voice, encoded once

Each piece begins at its own place on the frame grid, whatever the one before it lasted: a model
returns a few frames too many or too few. A missing frame is held; of the surplus, what no other
picture needs is left out, and the rest shares the last 40 ms. What the pieces hold of sound is not
used: models shift it and encode it anew.

All is read as it is written: a piece is opened twice and never held, so memory grows by a few bytes
a frame only.
"""

from __future__ import annotations

import heapq
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av import AudioStream, Packet, VideoStream
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.video.frame import PictureType

from functions.segments import h264
from functions.segments import voice as voices
from functions.segments.cut import FRAMES_PER_SECOND, Plan, Segment
from functions.segments.voice import Source, Voice, opened

TICKS = 90_000  # a second; 24, 25 and 30 frames a second are whole numbers of it
FRAME_TICKS = TICKS // FRAMES_PER_SECOND
_TIME_BASE = Fraction(1, TICKS)
_ROUNDING_TICKS = TICKS // 200  # 5 ms: containers round their frames' times

# A held picture is seen from half a second on; a video that is a second longer was not made to this
# voice.
MOST_MISSING_SECONDS = 0.5
MOST_SURPLUS_SECONDS = 1.0

_AUDIO_BITS_PER_CHANNEL = 96_000
_AAC_RATES = frozenset(
    {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
)
_REENCODED_CRF = "18"  # x264's "visually lossless", as the pieces beside it were not encoded twice


class Unjoinable(Exception):
    """A piece does not fit, and no re-encoding would mend it: hold the task. `segment` says which
    seconds."""

    def __init__(self, segment: Segment, why: str) -> None:
        super().__init__(f"piece {segment.number} ({segment.words}): {why}")
        self.segment = segment


@dataclass(frozen=True)
class Made:
    """The video that was made of a segment: an MP4, as a path or a file that can seek. It is read
    twice."""

    segment: Segment
    source: Source


@dataclass(frozen=True)
class Joined:
    """What the join did. `held` and `surplus`: segment numbers → frames missing, and frames
    squeezed or left out; `reencoded`: segment numbers → why."""

    frames: int
    seconds: float
    held: dict[int, int]
    surplus: dict[int, int]
    reencoded: dict[int, str]


@dataclass(frozen=True)
class _Shape:
    """What all pictures of a track must agree in."""

    codec: str
    width: int
    height: int
    pixels: str
    parameters: bytes

    def differs(self, other: _Shape) -> str:
        if (self.width, self.height) != (other.width, other.height):
            return f"{self.width} × {self.height} pixels beside {other.width} × {other.height}"
        if (self.codec, self.pixels) != (other.codec, other.pixels):
            return f"{self.codec} {self.pixels} beside {other.codec} {other.pixels}"
        return "" if self.parameters == other.parameters else "other encoder settings (SPS, PPS)"


@dataclass(frozen=True)
class _Scanned:
    """A piece, its shape and the times of its frames in the order of the file, in ticks from its
    first frame on."""

    made: Made
    shape: _Shape
    times: array[int]


@dataclass(frozen=True)
class _Pinned:
    """A piece's frames, in the order of the file: when each is shown, in ticks of the whole. Frames
    behind are left out."""

    scanned: _Scanned
    shown: array[int]
    end: int


def join(
    voice: Voice, plan: Plan, pieces: Sequence[Made], out: str | os.PathLike[str], scratch: Path
) -> Joined:
    """Write an MP4 with its index in front to `out`; re-encoded pieces lie in the folder `scratch`
    meanwhile. Raises Unjoinable, and voice.Undecodable."""
    if [one.segment for one in pieces] != list(plan.segments):
        raise ValueError("the pieces are not those of the plan, in its order")
    scanned = [_scan(made) for made in pieces]
    wanted = _most_common_shape(scanned)
    differing = {
        one.made.segment.number: why for one in scanned if (why := one.shape.differs(wanted))
    }
    scanned, parameters = _alike(scanned, wanted, scratch)
    pinned = [_pin(one, plan) for one in scanned]
    with av.open(
        os.fspath(out), "w", format="mp4", options={"movflags": "+faststart"}
    ) as container:
        _mux(container, pinned, parameters, voice, plan)
    off = {one.made.segment.number: _frames_off(one, plan) for one in scanned}
    return Joined(
        frames=sum(len(one.shown) for one in pinned),
        seconds=plan.seconds,
        held={number: -frames for number, frames in off.items() if frames < 0},
        surplus={number: frames for number, frames in off.items() if frames > 0},
        reencoded=differing,
    )


def _scan(made: Made) -> _Scanned:
    """Raises Unjoinable."""
    try:
        with opened(made.source, "video/mp4") as container:
            return _scan_opened(made, container)
    except voices.Undecodable as error:
        raise Unjoinable(made.segment, str(error)) from error


def _scan_opened(made: Made, container: InputContainer) -> _Scanned:
    if not container.streams.video:
        raise Unjoinable(made.segment, "it has no video track")
    stream = container.streams.video[0]
    times = array("q")
    for packet in _packets(container, stream):
        if not times and not packet.is_keyframe:
            raise Unjoinable(
                made.segment, "its first frame needs one before it: make this piece again"
            )
        times.append(_ticks(packet))
    if not times:
        raise Unjoinable(made.segment, "it has no pictures: make this piece again")
    if len(set(times)) != len(times):
        raise Unjoinable(
            made.segment, "two of its frames have the same time: make this piece again"
        )
    first = min(times)
    return _Scanned(made, _shape(stream), array("q", (time - first for time in times)))


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """In the order of the file; without those that the file itself does not want to be shown."""
    return (
        one
        for one in container.demux(stream)
        if one.size and one.pts is not None and not one.is_discard
    )


def _ticks(packet: Packet[VideoStream]) -> int:
    return round((packet.pts or 0) * (packet.time_base or 0) * TICKS)


def _shape(stream: VideoStream) -> _Shape:
    context = stream.codec_context
    return _Shape(
        context.name,
        context.width,
        context.height,
        context.pix_fmt or "",
        bytes(context.extradata or b""),
    )


def _most_common_shape(scanned: Sequence[_Scanned]) -> _Shape:
    """The shape of most seconds; so the least is re-encoded."""
    frames: Counter[_Shape] = Counter()
    for one in scanned:
        frames[one.shape] += len(one.times)
    return frames.most_common(1)[0][0]


def _alike(
    scanned: Sequence[_Scanned], wanted: _Shape, scratch: Path
) -> tuple[list[_Scanned], bytes]:
    """All pieces as one track can hold them, and the parameter sets of that track. Raises
    Unjoinable."""
    alike, parameters = [], wanted.parameters
    for one in scanned:
        if why := one.shape.differs(wanted):
            try:
                record = h264.Record.of(wanted.parameters)
                one = _scan(_reencoded(one, wanted, record, scratch))
                parameters = bytes(record.with_sets_of(h264.Record.of(one.shape.parameters)))
            except h264.BadRecord as error:
                raise Unjoinable(
                    one.made.segment, f"{why}, and the others cannot be mixed with it: {error}"
                ) from error
        alike.append(one)
    return alike, parameters


def _reencoded(one: _Scanned, wanted: _Shape, record: h264.Record, scratch: Path) -> Made:
    """This piece as the others are: their size, their pixels, parameter sets of another number."""
    if abs(one.shape.width * wanted.height / (one.shape.height * wanted.width) - 1) > 0.02:
        raise Unjoinable(
            one.made.segment,
            f"{one.shape.differs(wanted)}: another aspect ratio; make this piece again",
        )
    path = scratch / f"reencoded-{one.made.segment.number}.mp4"
    options = {
        # No B-frames: in the order shown, so nothing is to be sorted.
        "preset": "veryfast", "crf": _REENCODED_CRF, "bf": "0",
        "profile": h264.PROFILES.get(record.profile, "high"),
        "x264-params": f"sps-id={record.free_id()}",
    }  # fmt: skip
    with opened(one.made.source, "video/mp4") as source, av.open(str(path), "w") as out:
        # The rate is only what the encoder plans its bits by: each frame keeps its time.
        stream = out.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        stream.width, stream.height, stream.pix_fmt = wanted.width, wanted.height, wanted.pixels
        stream.codec_context.time_base = _TIME_BASE
        for frame in source.decode(video=0):
            time = round((frame.pts or 0) * (frame.time_base or 0) * TICKS)
            scaled = frame.reformat(wanted.width, wanted.height, wanted.pixels)
            scaled.pts, scaled.time_base, scaled.pict_type = time, _TIME_BASE, PictureType.NONE
            out.mux(stream.encode(scaled))
        out.mux(stream.encode(None))
    return replace(one.made, source=path)


def _pin(one: _Scanned, plan: Plan) -> _Pinned:
    """Raises Unjoinable if the piece is far longer or shorter than its segment."""
    segment = one.made.segment
    begin = round(segment.start * FRAME_TICKS)
    length = round(segment.end * FRAME_TICKS) - begin
    off = _frames_off(one, plan) / FRAMES_PER_SECOND
    if not -MOST_MISSING_SECONDS <= off <= MOST_SURPLUS_SECONDS:
        wrong = f"{abs(off):.2f} s {'longer' if off > 0 else 'shorter'} than its part of the voice"
        raise Unjoinable(segment, f"it is {wrong}: the lips cannot fit; make this piece again")
    kept = _without_surplus_end(one.times, length)
    squeezed = _squeezed(sorted(kept), length)
    return _Pinned(one, array("q", (begin + squeezed[time] for time in kept)), begin + length)


def _frames_off(one: _Scanned, plan: Plan) -> int:
    """How many frames of 1/25 s the piece is longer than its segment; less than 0: shorter."""
    times = sorted(one.times)
    usual = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else FRAME_TICKS
    return round((times[-1] + usual) / FRAME_TICKS - one.made.segment.frames)


def _without_surplus_end(times: array[int], length: int) -> array[int]:
    """No frame is decoded from one behind it in the file: of the file's end, what is shown too late
    can go."""
    kept = len(times)
    while kept > 1 and times[kept - 1] >= length - _ROUNDING_TICKS:
        kept -= 1
    return times[:kept]


def _squeezed(times: Sequence[int], length: int) -> dict[int, int]:
    """Each frame's own time, but for those behind the beginning of the last 40 ms: they share what
    is left of them."""
    last = length - FRAME_TICKS
    late = [time for time in times if time > last + _ROUNDING_TICKS]
    placed = {time: time for time in times[: len(times) - len(late)]}
    for number, time in enumerate(late, 1):
        placed[time] = last + FRAME_TICKS * number // (len(late) + 1)
    return placed


def _mux(
    container: OutputContainer,
    pinned: Sequence[_Pinned],
    parameters: bytes,
    voice: Voice,
    plan: Plan,
) -> None:
    with opened(pinned[0].scanned.made.source, "video/mp4") as first:
        pictures = container.add_stream_from_template(first.streams.video[0])
    pictures.time_base = _TIME_BASE
    pictures.codec_context.extradata = parameters
    sound = _Sound(container, plan)
    # Interleaved by time here, or the muxer would hold one of the two tracks whole.
    tracks: list[Iterator[Packet[Any]]] = [_pictures(pinned, pictures), sound.packets(voice)]
    for packet in heapq.merge(*tracks, key=_decoded_at):
        container.mux(packet)


def _decoded_at(packet: Packet[Any]) -> Fraction:
    return Fraction(packet.dts or 0) * (packet.time_base or 1)


def _pictures(pinned: Sequence[_Pinned], stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Every piece's packets with their new times. A packet is decoded by the time its place in the
    order of showing comes up, less the longest that any frame must be decoded ahead: the same for
    all, so the order never breaks."""
    ahead = max(_ahead(one.shown) for one in pinned)
    for one in pinned:
        order = [*sorted(one.shown), one.end]
        with opened(one.scanned.made.source, "video/mp4") as container:
            packets = _packets(container, container.streams.video[0])
            for place, (packet, shown) in enumerate(zip(packets, one.shown, strict=False)):
                packet.stream, packet.time_base = stream, _TIME_BASE
                packet.pts, packet.dts = shown, order[place] - ahead
                # The frame shown last states the end of the track, the one that stands last the end
                # of its index.
                packet.duration = (
                    one.end - shown if shown == order[-2] else order[place + 1] - order[place]
                )
                yield packet


def _ahead(shown: array[int]) -> int:
    return max(due - time for due, time in zip(sorted(shown), shown, strict=True))


class _Sound:
    """The voice as one AAC track: sample 0 is played at 0, since the muxer notes the encoder's
    delay (an edit list)."""

    def __init__(self, container: OutputContainer, plan: Plan) -> None:
        rate = plan.rate if plan.rate in _AAC_RATES else 48_000
        self._stream = container.add_stream("aac", rate=rate)
        self._stream.layout = "mono" if plan.channels == 1 else "stereo"
        self._stream.bit_rate = _AUDIO_BITS_PER_CHANNEL * plan.channels
        self._stream.codec_context.open()
        context = self._stream.codec_context
        self._resampler = AudioResampler(context.format, context.layout, rate, context.frame_size)

    def packets(self, voice: Voice) -> Iterator[Packet[AudioStream]]:
        samples = 0
        for frame in voices.frames(voice):
            frame.pts, frame.time_base = samples, Fraction(1, frame.sample_rate)
            samples += frame.samples
            for resampled in self._resampler.resample(frame):
                yield from self._stream.encode(resampled)
        for resampled in self._resampler.resample(None):
            yield from self._stream.encode(resampled)
        yield from self._stream.encode(None)
