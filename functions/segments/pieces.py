"""The pieces of a voice as files that a model takes: exactly the samples of the plan, one piece in
memory at a time.

WAV where it fits: it has no encoder, so no delay and no padding. MP3 and M4A carry their encoder's
delay in a header, and who reads it (FFmpeg, libsndfile, browsers) plays exactly the samples that
went in.
"""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter

import av
from av.audio.resampler import AudioResampler

from functions.segments import voice as voices
from functions.segments.cut import Plan, Segment
from functions.segments.voice import BYTES_PER_SAMPLE, Voice

_WAV_HEADER_BYTES = 44
# Container and codec.
_ENCODERS = {"audio/mpeg": ("mp3", "libmp3lame"), "audio/mp4": ("ipod", "aac")}
_BIT_RATES = (128_000, 96_000, 64_000, 48_000, 32_000)
_OVERHEAD_BYTES = 8192  # headers, an index and the encoder's padding
_SAFETY = 1.03  # encoders keep a bit rate on average only
# An encoder that cannot make a rate gets the nearest that both can.
_ENCODED_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class NoForm(Exception):
    """No format that the model takes holds the longest piece within the model's bytes."""


class VoiceChanged(Exception):
    """The file is not the one that was listened to: plan again."""


@dataclass(frozen=True)
class Form:
    """What pieces are written as: audio/wav, or audio/mpeg or audio/mp4 with a bit rate."""

    content_type: str
    bit_rate: int = 0


@dataclass(frozen=True)
class Piece:
    """`pcm_sha256` is the hash of its samples, and of their rate and channels: the same whatever it
    is written as."""

    segment: Segment
    content: bytes
    samples: int
    pcm_sha256: str


def choose_form(plan: Plan, types: Iterable[str], most_bytes: int) -> Form:
    """The first of WAV, MP3, M4A that the model takes and whose longest piece fits. Raises
    NoForm."""
    samples = max(plan.sample(one.end) - plan.sample(one.start) for one in plan.segments)
    if (
        "audio/wav" in types
        and _WAV_HEADER_BYTES + samples * plan.channels * BYTES_PER_SAMPLE <= most_bytes
    ):
        return Form("audio/wav")
    for content_type in (one for one in _ENCODERS if one in types):
        for bit_rate in _BIT_RATES:
            if samples / plan.rate * bit_rate / 8 * _SAFETY + _OVERHEAD_BYTES <= most_bytes:
                return Form(content_type, bit_rate)
    seconds = samples / plan.rate
    raise NoForm(
        f"a piece of {seconds:.1f} s fits into {most_bytes:,} bytes in none of "
        f"{', '.join(sorted(types))}: "
        "take a model with a larger limit"
    )


def write(voice: Voice, plan: Plan, form: Form) -> Iterator[Piece]:
    """Decode the voice and give its pieces, one after another. Raises VoiceChanged, Undecodable."""
    for segment, parts in groupby(_parts(voice, plan), key=itemgetter(0)):
        yield _written(segment, (pcm for _, pcm in parts), plan, form)


def hashes(voice: Voice, plan: Plan) -> tuple[str, ...]:
    """The `pcm_sha256` of each piece, without writing it. Raises VoiceChanged, Undecodable."""
    found = []
    for _, parts in groupby(_parts(voice, plan), key=itemgetter(0)):
        digest = _digest(plan)
        for _, pcm in parts:
            digest.update(pcm)
        found.append(digest.hexdigest())
    return tuple(found)


def _digest(plan: Plan) -> hashlib._Hash:
    return hashlib.sha256(f"{plan.rate} {plan.channels} ".encode())


def _parts(voice: Voice, plan: Plan) -> Iterator[tuple[Segment, bytes]]:
    """The voice as it is decoded, in parts that belong to one segment each."""
    segments = list(plan.segments)
    size = plan.channels * BYTES_PER_SAMPLE
    position = 0
    for frame in voices.frames(voice):
        pcm = voices.pcm(frame)
        while len(segments) > 1 and (left := plan.sample(segments[0].end) - position) * size <= len(
            pcm
        ):
            yield segments.pop(0), pcm[: left * size]
            pcm = pcm[left * size :]
            position += left
        yield segments[0], pcm
        position += len(pcm) // size
    if position != plan.samples:
        raise VoiceChanged(
            f"the voice has {position} samples, and had {plan.samples} when it was listened to"
        )


def _written(segment: Segment, parts: Iterable[bytes], plan: Plan, form: Form) -> Piece:
    digest = _digest(plan)
    bytes_ = 0

    def noted() -> Iterator[bytes]:
        nonlocal bytes_
        for part in filter(None, parts):
            digest.update(part)
            bytes_ += len(part)
            yield part

    content = (
        _wav(noted(), plan) if form.content_type == "audio/wav" else _encoded(noted(), plan, form)
    )
    return Piece(segment, content, bytes_ // (plan.channels * BYTES_PER_SAMPLE), digest.hexdigest())


def _wav(parts: Iterable[bytes], plan: Plan) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((plan.channels, BYTES_PER_SAMPLE, plan.rate, 0, "NONE", ""))
        for part in parts:
            out.writeframesraw(part)
    return file.getvalue()


def _encoded(parts: Iterable[bytes], plan: Plan, form: Form) -> bytes:
    container, codec = _ENCODERS[form.content_type]
    rate = min(_ENCODED_RATES, key=lambda one: abs(one - plan.rate))
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate, stream.layout = form.bit_rate, "mono" if plan.channels == 1 else "stereo"
        stream.codec_context.open()
        resampler = AudioResampler(
            stream.codec_context.format, stream.layout, rate, stream.codec_context.frame_size
        )
        for frame in chain(_frames(parts, plan), [None]):
            for resampled in resampler.resample(frame):
                out.mux(stream.encode(resampled))
        out.mux(stream.encode(None))
    return file.getvalue()


def _frames(parts: Iterable[bytes], plan: Plan) -> Iterator[av.AudioFrame]:
    position = 0
    for part in parts:
        frame = voices.frame_of(part, plan.rate, plan.channels, position)
        position += frame.samples
        yield frame
