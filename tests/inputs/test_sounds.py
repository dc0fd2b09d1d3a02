"""What a sound is and how long it lasts, for what real tools write; and the refusal of files that
are none."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from functions.inputs import audio, frames, refusals
from functions.inputs.source import of_bytes
from tests.inputs import corpus

from .conftest import Ledger, Make

KINDS = [
    ("cbr.mp3", "audio/mpeg", ("-b:a", "64k")),
    ("vbr.mp3", "audio/mpeg", ("-q:a", "4")),
    ("no-index.mp3", "audio/mpeg", ("-q:a", "4", "-write_xing", "0")),
    ("no-tags.mp3", "audio/mpeg", ("-id3v2_version", "0", "-write_xing", "0")),
    ("old-tag.mp3", "audio/mpeg", ("-write_id3v1", "1", "-metadata", "title=old")),
    ("stereo.mp3", "audio/mpeg", ("-ac", "2", "-b:a", "128k")),
    ("telephone.mp3", "audio/mpeg", ("-ar", "8000", "-b:a", "8k")),
    ("mpeg-2.mp3", "audio/mpeg", ("-ar", "22050", "-ac", "2")),
    ("pcm.wav", "audio/wav", ()),
    ("deep.wav", "audio/wav", ("-c:a", "pcm_s24le", "-ac", "6")),
    ("float.wav", "audio/wav", ("-c:a", "pcm_f32le")),
    ("telephone.wav", "audio/wav", ("-c:a", "pcm_mulaw", "-ar", "8000")),
    ("huge.wav", "audio/wav", ("-rf64", "always")),
    ("aac.m4a", "audio/mp4", ("-c:a", "aac")),
    ("web.m4a", "audio/mp4", ("-c:a", "aac", "-movflags", "+faststart")),
    ("slow.m4a", "audio/mp4", ("-c:a", "aac", "-ar", "8000")),
    (
        "recorded.m4a",
        "audio/mp4",
        ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    ),
    (
        "dash.m4a",
        "audio/mp4",
        ("-c:a", "aac", "-movflags", "dash+delay_moov", "-frag_duration", "500000"),
    ),
    ("sound.mp4", "audio/mp4", ("-c:a", "aac")),
    ("adts.aac", "audio/aac", ("-c:a", "aac")),
    ("slow.aac", "audio/aac", ("-c:a", "aac", "-ar", "16000")),
    ("vorbis.ogg", "audio/ogg", ("-c:a", "libvorbis")),
    ("opus.ogg", "audio/ogg", ("-c:a", "libopus")),
    ("opus.opus", "audio/ogg", ("-c:a", "libopus", "-page_duration", "20000")),
    ("lossless.flac", "audio/flac", ()),
]


def look(name: str, content: bytes) -> audio.Audio:
    return audio.inspect_audio(of_bytes(name, content))


def refused(name: str, content: bytes) -> str:
    with pytest.raises(refusals.NotMedia) as caught:
        look(name, content)
    assert caught.value.refusal.field == "audio"
    return f"{caught.value.refusal.code} {caught.value.refusal.message}"


@pytest.mark.parametrize(
    ("name", "content_type", "options"), KINDS, ids=[kind[0] for kind in KINDS]
)
def test_a_sound_is_known_by_its_bytes_and_measured_as_ffmpeg_plays_it(
    name: str,
    content_type: str,
    options: tuple[str, ...],
    sound: Make,
    truth: Callable[[bytes, str], float],
) -> None:
    content = sound(name, *options)
    audio = look("anything.bin", content)
    assert (audio.content_type, audio.bytes) == (content_type, len(content))
    assert audio.seconds == pytest.approx(truth(content, name), abs=0.1)


def test_an_mp3_whose_quiet_start_has_a_low_bit_rate_is_counted_and_not_guessed(
    sound: Make, truth: Callable[[bytes, str], float]
) -> None:
    quiet = sound("quiet.mp3", "-b:a", "32k", "-write_xing", "0", "-id3v2_version", "0")
    loud = sound("loud.mp3", "-b:a", "320k", "-write_xing", "0", "-id3v2_version", "0")
    content = quiet + loud
    assert look("a.mp3", content).seconds == pytest.approx(truth(content, "a.mp3"), abs=0.1)


def test_cover_art_in_the_tag_is_stepped_over(sound: Make) -> None:
    plain = sound("no-tags.mp3", "-id3v2_version", "0", "-write_xing", "0")
    size = 700_000
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    cover = b"ID3\x04\0\0" + sizes + b"\xff\xfb\x90\x00" * (size // 4)
    file = Ledger("a.mp3", cover + plain)
    assert audio.inspect_audio(file.source).seconds == look("a.mp3", plain).seconds
    assert sum(file.read_sizes) < size


@pytest.mark.parametrize(
    "tag", [b"TAG" + b"x" * 125, b"APETAGEX" + struct.pack("<II", 2000, 9000) + b"y" * 9016]
)
def test_tags_at_the_end_are_no_sound_and_no_damage(tag: bytes, sound: Make) -> None:
    plain = sound("cbr.mp3", "-b:a", "64k")
    assert look("a.mp3", plain + tag).seconds == look("a.mp3", plain).seconds


def test_mp3s_joined_with_their_tags_last_as_long_as_both(sound: Make) -> None:
    one = sound("cbr.mp3", "-b:a", "64k")
    assert look("a.mp3", one + one).seconds == pytest.approx(6.6, abs=0.15)


def test_an_mp3_with_a_little_junk_inside_is_played_over_it(sound: Make) -> None:
    one = sound("no-tags.mp3", "-id3v2_version", "0", "-write_xing", "0")
    assert look("a.mp3", one + b"\0" * 3000 + one).seconds == pytest.approx(6.7, abs=0.2)
    assert refused("a.mp3", one + b"\0" * 300_000 + one).startswith("AUDIO_DAMAGED")


def test_an_aac_behind_an_id3_tag_is_aac(sound: Make) -> None:
    tag = b"ID3\x04\0\0\0\0\0\x10" + b"\0" * 16
    assert look("a.aac", tag + sound("adts.aac", "-c:a", "aac")).content_type == "audio/aac"


def test_a_wav_written_into_a_pipe_is_as_long_as_its_bytes(sound: Make) -> None:
    assert look("a.wav", sound("piped.wav", pipe="wav")).seconds == pytest.approx(3.3, abs=0.01)


def test_oggs_joined_one_behind_the_other_last_as_long_as_both(sound: Make) -> None:
    one = sound("vorbis.ogg", "-c:a", "libvorbis")
    assert look("a.ogg", one + one).seconds == pytest.approx(6.6, abs=0.02)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vbr.mp3", ("-q:a", "4")),
        ("pcm.wav", ()),
        ("aac.m4a", ("-c:a", "aac")),
        ("web.m4a", ("-c:a", "aac", "-movflags", "+faststart")),
        ("vorbis.ogg", ("-c:a", "libvorbis")),
    ],
)
def test_half_a_sound_is_damaged(name: str, options: tuple[str, ...], sound: Make) -> None:
    whole = sound(name, *options)
    message = refused(name, whole[: len(whole) // 2])
    assert message.startswith("AUDIO_DAMAGED")
    assert name in message


@pytest.mark.parametrize(
    ("name", "options"),
    [("adts.aac", ("-c:a", "aac")), ("no-tags.mp3", ("-id3v2_version", "0", "-write_xing", "0"))],
)
def test_a_sound_of_frames_alone_is_as_long_as_its_frames_and_none_may_be_broken(
    name: str, options: tuple[str, ...], sound: Make
) -> None:
    whole = sound(name, *options)
    reader = frames.adts_frame if name.endswith("aac") else frames.mp3_frame
    place = frames.first_frame(of_bytes(name, whole), reader) or 0
    while place < len(whole) // 2:
        place += (reader(whole[place : place + 7]) or (0, 0, 0))[0]
    assert look(name, whole[:place]).seconds == pytest.approx(1.65, abs=0.2)
    for size in (place - 1, place + 1, len(whole) - 1):
        assert "cut off within its last frame" in refused(name, whole[:size])


def test_the_index_of_fraunhofer_s_encoder_is_no_sound_and_finds_a_cut_between_frames(
    sound: Make,
) -> None:
    plain = sound("no-tags.mp3", "-id3v2_version", "0", "-write_xing", "0")
    whole = corpus.CHANGES["behind a VBRI header"](plain)
    assert look("a.mp3", whole).seconds == look("a.mp3", plain).seconds
    length, *_ = frames.mp3_frame(whole[:7]) or (0,)
    for kept in (5, 20, 50):
        place = 0
        for _ in range(kept):
            place += (frames.mp3_frame(whole[place : place + 7]) or (length,))[0]
        assert "frames are there" in refused("a.mp3", whole[:place])


def test_the_second_of_two_joined_mp3s_may_not_be_cut_off(sound: Make) -> None:
    one = sound("vbr.mp3", "-q:a", "4")
    two = sound("cbr.mp3", "-b:a", "64k")
    assert look("a.mp3", one + two).seconds == pytest.approx(6.6, abs=0.1)
    for size in (len(two) // 2, len(two) - 1):
        assert refused("a.mp3", one + two[:size]).startswith("AUDIO_DAMAGED")


def test_a_footer_without_a_header_is_the_end_of_a_tag_and_no_cut(sound: Make) -> None:
    plain = sound("cbr.mp3", "-b:a", "64k")
    footer = b"APETAGEX" + struct.pack("<III", 2000, 1032, 1) + bytes(12)
    assert look("a.mp3", plain + b"y" * 1000 + footer).seconds == look("a.mp3", plain).seconds


def test_the_web_page_in_place_of_an_mp3_is_named() -> None:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title>" + b" " * 5000
    assert refused("voice.mp3", page) == (
        "NOT_AUDIO voice.mp3 is not audio: it begins with <!DOCTYPE html, it looks like a web "
        "page. "
        "Download the audio itself and drop it again."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty, 0 bytes"),
        (b"\xef\xbb\xbf\n  <HTML>", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "XML, perhaps an error message"),
        (b'{"message": "Forbidden"}', "JSON, perhaps an error message"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"data:audio/mpeg;base64,SUQz", "a data URL"),
        (
            b"the voice is in the other folder, see there",
            "it begins with the voice is i, it looks like text",
        ),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04" + b"\0" * 90, "a ZIP archive"),
        (b"\x1aE\xdf\xa3" + b"\0" * 90, "a WebM or Matroska file"),
        (b"#!AMR\n" + b"\0" * 90, "an AMR recording"),
        (b"FORM\0\0\0\0AIFF" + b"\0" * 90, "an AIFF sound"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 90, "it is a PNG picture"),
        (b"\xff\xfb\x00\xc0" + b"\0" * 9000, "a free-format MP3"),
        (b"ID3\x04\0\0\0\0\0\x10" + b"\0" * 5000, "a tag with no MP3 behind it"),
        (
            b"\0" * 5000,
            "it begins with the bytes 00 00 00 00 00 00 00 00, which is no kind of file that we "
            "know",
        ),
    ],
)
def test_what_is_no_sound_is_named_with_its_cure(content: bytes, words: str) -> None:
    message = refused("voice.mp3", content)
    assert "voice.mp3 is " in message
    assert words in message
    assert message.endswith(" again.")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("film.mp4", ("-f", "lavfi", "-i", "color=size=64x64:rate=5:duration=1"), "is a video"),
        ("film.mov", (), "a QuickTime movie"),
        ("voice.webm", ("-c:a", "libopus"), "a WebM or Matroska file"),
        ("old.mp2", (), "no kind of file that we know"),
        ("flac.ogg", ("-c:a", "flac"), "neither Vorbis nor Opus"),
        ("voice.aiff", (), "an AIFF sound"),
        ("voice.wma", (), "a Windows Media file"),
        ("adpcm.wav", ("-c:a", "adpcm_ima_wav"), "a WAV that holds ADPCM"),
        ("ms.wav", ("-c:a", "adpcm_ms"), "a WAV that holds ADPCM"),
        ("deep.wav", ("-c:a", "pcm_f64le"), "a WAV of 64-bit floats"),
        ("layer-3.wav", ("-c:a", "libmp3lame"), "a WAV that holds MP3"),
        ("lossless.m4a", ("-c:a", "alac"), "an M4A that holds Apple Lossless"),
        ("film.mp4", ("-c:a", "ac3"), "an M4A that holds AC-3"),
        ("opus.mp4", ("-c:a", "libopus"), "an M4A that holds Opus"),
        ("flac.mp4", ("-c:a", "flac", "-strict", "-2"), "an M4A that holds FLAC"),
        ("vorbis.mp4", ("-c:a", "libvorbis"), "an M4A that holds coding 0xdd"),
    ],
)
def test_sound_in_a_form_that_no_vendor_takes_is_named(
    name: str, options: tuple[str, ...], words: str, sound: Make
) -> None:
    message = refused(name, sound(name, *options))
    assert message.startswith("NOT_AUDIO")
    assert words in message


def test_a_picture_behind_a_sound_does_not_make_it_a_picture(sound: Make) -> None:
    both = sound("cbr.mp3", "-b:a", "64k") + b"\x89PNG\r\n\x1a\n"
    assert look("a.png", both).content_type == "audio/mpeg"


def test_a_copy_protected_m4a_is_refused(sound: Make) -> None:
    locked = sound("aac.m4a", "-c:a", "aac").replace(b"mp4a", b"drms", 1)
    assert "copy-protected" in refused("song.m4p", locked)


def test_a_header_of_a_wav_costs_one_request_and_a_scan_of_an_mp3_few(sound: Make) -> None:
    wav = Ledger("a.wav", sound("long.wav", seconds=60))
    audio.inspect_audio(wav.source)
    assert wav.read_sizes == [1 << 18]
    mp3 = Ledger("a.mp3", sound("no-tags.mp3", "-id3v2_version", "0", "-write_xing", "0") * 300)
    audio.inspect_audio(mp3.source)
    assert len(mp3.read_sizes) <= 6
    assert sum(mp3.read_sizes) < 1.1 * len(mp3.content)


@pytest.mark.parametrize("seconds", [3599, 3700, 7200, 20_000])
def test_a_voice_of_more_than_an_hour_is_measured_and_not_taken_for_an_hour(seconds: int) -> None:
    frame = b"\xff\xe3\x14\xc0" + bytes(32)  # 576 samples at 12 kHz: 48 ms
    assert frames.mp3_frame(frame[:7]) is not None
    length, samples, hertz = frames.mp3_frame(frame[:7]) or (0, 0, 1)
    content = (frame + bytes(length))[:length] * int(seconds * hertz / samples)
    assert look("long.mp3", content).seconds == pytest.approx(seconds, rel=0.001)


def test_an_m4a_without_its_media_is_cut_off_however_long_its_tables_say(sound: Make) -> None:
    whole = sound("web.m4a", "-c:a", "aac", "-movflags", "+faststart")
    place = whole.index(b"mdat") - 4
    for kept in (0, 100):
        content = whole[:place] + (8 + kept).to_bytes(4) + b"mdat" + bytes(kept)
        assert refused("a.m4a", content).startswith("AUDIO_DAMAGED")


def test_every_cut_within_the_index_of_an_m4a_is_found(sound: Make) -> None:
    whole = sound("aac.m4a", "-c:a", "aac")
    for size in range(whole.rindex(b"moov") - 4, len(whole)):
        assert refused("a.m4a", whole[:size]).startswith("AUDIO_DAMAGED")


@pytest.mark.parametrize(
    "options", [(), ("-frame_size", "1000"), ("-ac", "6", "-sample_fmt", "s32")]
)
def test_every_cut_of_a_flac_is_found(options: tuple[str, ...], sound: Make) -> None:
    whole = sound("lossless.flac", *options)
    assert look("a.flac", whole).seconds == pytest.approx(3.3, abs=0.001)
    for tail in (b"\r\n", bytes(1000), b"TAG" + b"x" * 125):
        assert look("a.flac", whole + tail).seconds == look("a.flac", whole).seconds
    last = len(whole.rstrip(b"\0"))
    for size in (*range(50, last, len(whole) // 97), *range(last - 300, last)):
        assert refused("a.flac", whole[:size]).startswith("AUDIO_DAMAGED")


def test_a_flac_written_into_a_pipe_is_as_long_as_its_last_frame_says(sound: Make) -> None:
    whole = sound("piped.flac", pipe="flac")
    assert look("a.flac", whole).seconds == pytest.approx(3.3, abs=0.001)
    assert refused("a.flac", whole[: len(whole) * 2 // 3]).startswith("AUDIO_DAMAGED")


def test_an_ogg_without_its_end_is_cut_off(sound: Make) -> None:
    whole = sound("paged.ogg", "-c:a", "libvorbis", "-page_duration", "200000")
    for page in range(3, whole.count(b"OggS")):
        content = b"OggS".join(whole.split(b"OggS")[: page + 1])
        assert "it is cut off" in refused("a.ogg", content)


def test_the_size_of_an_rf64_is_that_of_its_own_chunk(sound: Make) -> None:
    whole = sound("huge.wav", "-rf64", "always")
    assert "cut off" in refused("a.wav", whole[: len(whole) // 2])


def test_a_scan_reads_ahead_further_each_time_up_to_four_mebibytes() -> None:
    frame = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s at 44.1 kHz
    file = Ledger("a.mp3", (frame + frame[:2] + b"\x92\x00" + bytes(414)) * 20_000)
    audio.inspect_audio(file.source)
    assert max(file.read_sizes) == 4 << 20
    assert len(file.read_sizes) <= 9
