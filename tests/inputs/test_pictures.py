"""What a picture is and how many pixels it has, without decoding it; and the refusal of files that
are none."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from functions.inputs import pictures, refusals
from functions.inputs.source import of_bytes

from .conftest import Ledger, picture

EXIF = Image.Exif()
EXIF[0x0112] = 6  # turned by a quarter


def look(name: str, content: bytes) -> pictures.Image:
    return pictures.inspect_image(of_bytes(name, content))


def refused(name: str, content: bytes) -> str:
    with pytest.raises(refusals.NotMedia) as caught:
        look(name, content)
    assert caught.value.refusal.field == "portrait"
    return f"{caught.value.refusal.code} {caught.value.refusal.message}"


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims more pixels than it has bytes for."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (picture("PNG", 701, 499), "image/png"),
        (picture("PNG", 701, 499, "P"), "image/png"),
        (picture("PNG", 701, 499, "RGBA"), "image/png"),
        (picture("JPEG", 701, 499), "image/jpeg"),
        (picture("JPEG", 701, 499, progressive=True), "image/jpeg"),
        (picture("JPEG", 701, 499, "CMYK"), "image/jpeg"),
        (picture("JPEG", 701, 499, exif=EXIF), "image/jpeg"),
        (picture("JPEG", 701, 499, icc_profile=b"p" * 400_000), "image/jpeg"),
        (picture("WEBP", 701, 499), "image/webp"),
        (picture("WEBP", 701, 499, lossless=True), "image/webp"),
        (picture("WEBP", 701, 499, "RGBA", exif=EXIF), "image/webp"),
    ],
)
def test_a_picture_is_known_by_its_bytes(content: bytes, content_type: str) -> None:
    assert look("portrait.xyz", content) == pictures.Image(
        "portrait.xyz", content_type, len(content), 701, 499
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_picture_that_is_cut_off_is_damaged(kind: str, share: float) -> None:
    whole = picture(kind, 640, 480)
    message = refused("face.png", whole[: int(len(whole) * share)])
    assert message.startswith("IMAGE_DAMAGED face.png is damaged: it is cut off")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_what_stands_behind_a_picture_does_no_harm(kind: str, size: int) -> None:
    """Phones append a film to a photo, and others a ZIP."""
    file = Ledger("face", picture(kind, 640, 480) + b"PK\x03\x04" + b"\0" * size)
    assert pictures.inspect_image(file.source).width == 640
    assert sum(file.read_sizes) <= 2 * (1 << 18) + (1 << 16)


def test_a_large_picture_costs_its_head_and_its_tail() -> None:
    start, end = picture("PNG", 640, 480)[:41], b"\0\0\0\0IEND\xaeB`\x82"
    file = Ledger("face.png", start + b"\0" * 9_000_000 + end)
    pictures.inspect_image(file.source)
    assert file.read_sizes == [1 << 18, 1 << 16]


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    message = refused("face.png", bomb(50_000, 50_000))
    assert message.startswith(
        "IMAGE_TOO_MANY_PIXELS face.png is 50000 × 50000 pixels, 2500 million in all"
    )


def test_the_pixel_cap_is_a_hundred_million() -> None:
    assert look("face.png", bomb(10_000, 10_000)).width == 10_000
    assert refused("face.png", bomb(10_001, 10_000)).startswith("IMAGE_TOO_MANY_PIXELS")


@pytest.mark.parametrize("sides", [(0, 300), (300, 0)])
def test_a_picture_without_pixels_is_damaged(sides: tuple[int, int]) -> None:
    assert "no pixels" in refused("face.png", bomb(*sides))


def test_a_flipped_bit_in_the_header_of_a_png_is_seen() -> None:
    broken = bytearray(picture("PNG", 640, 480))
    broken[18] ^= 1
    assert refused("face.png", bytes(broken)).startswith("IMAGE_DAMAGED")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "face.png is empty"),
        (
            picture("GIF", 300, 300, "P"),
            "face.png is a GIF picture, which providers do not take: save it as JPEG or PNG",
        ),
        (picture("BMP", 300, 300), "a BMP picture"),
        (picture("TIFF", 300, 300), "a TIFF picture"),
        (picture("ICO", 64, 64), "an icon"),
        (picture("AVIF", 300, 300), "an AVIF picture"),
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (
            b"<!doctype html><title>Not found",
            "it begins with <!doctype html, it looks like a web page",
        ),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "face.png is not a picture: it is an MP4 file"),
        (b"ID3\x04" + b"\0" * 60, "it is an MP3 sound"),
        (
            b"\x01\x02" * 40,
            "it begins with the bytes 01 02 01 02 01 02 01 02, which is no kind of file that we "
            "know",
        ),
    ],
)
def test_what_is_no_picture_for_a_provider_is_named(content: bytes, words: str) -> None:
    assert words in refused("face.png", content)


def test_a_file_that_no_vendor_takes_is_refused_unread() -> None:
    file = Ledger("face.png", b"")
    file.source.size = (128 << 20) + 1
    with pytest.raises(refusals.NotMedia, match=r"128\.0 MB \(134,217,729 bytes\)"):
        pictures.inspect_image(file.source)
    assert file.read_sizes == []
