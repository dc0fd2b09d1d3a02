"""Draws portrait.png, the sample face: `python local/samples/draw.py` (Pillow is in the `dev`
extra)."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE = 768
SCALE = 3  # drawn larger, then scaled down: smooth edges
SKIN, SHADE, BLUSH = "#f2c9a5", "#e3ae86", "#ee9f8c"
HAIR, HAIR_LIGHT, BROW = "#4b2e20", "#6a432e", "#402619"
SHIRT, SHIRT_DARK, WALL, WALL_LIGHT = "#2f6f73", "#265b5f", "#f3e6d2", "#fdf6ea"
IRIS, LIP, LIP_DARK, WHITE, DARK = "#4d7a5b", "#c9635b", "#a84f49", "#fffdf9", "#2b1c15"

Box = tuple[float, float, float, float]


class Sheet:
    """A picture measured in its final pixels, with shapes that are ellipses, polygons and lines."""

    def __init__(self, colour: str) -> None:
        self.image = Image.new("RGBA", (SIZE * SCALE, SIZE * SCALE), colour)
        self.pen = ImageDraw.Draw(self.image)

    def ellipse(self, x: float, y: float, wide: float, high: float, colour: str) -> None:
        self.pen.ellipse(_scaled((x - wide, y - high, x + wide, y + high)), colour)

    def polygon(self, points: list[tuple[float, float]], colour: str) -> None:
        self.pen.polygon([(x * SCALE, y * SCALE) for x, y in points], colour)

    def arc(self, box: Box, start: int, end: int, colour: str, width: float) -> None:
        self.pen.arc(_scaled(box), start, end, colour, int(width * SCALE))

    def chord(self, box: Box, start: int, end: int, colour: str) -> None:
        self.pen.chord(_scaled(box), start, end, colour)

    def round(self, box: Box, radius: float, colour: str) -> None:
        self.pen.rounded_rectangle(_scaled(box), radius * SCALE, colour)

    def softened(self, radius: float) -> Image.Image:
        return self.image.filter(ImageFilter.GaussianBlur(radius * SCALE))


def _scaled(box: Box) -> Box:
    left, top, right, bottom = (value * SCALE for value in box)
    return left, top, right, bottom


def draw() -> Image.Image:
    sheet = Sheet(WALL)
    _wall(sheet)
    _hair_behind(sheet)
    _shoulders(sheet)
    _head(sheet)
    _fringe(sheet)
    for x in (304, 464):
        _eye(sheet, x)
    _nose_and_mouth(sheet)
    return sheet.image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _wall(sheet: Sheet) -> None:
    light = Sheet(f"{WALL_LIGHT}00")
    light.ellipse(384, 330, 330, 330, WALL_LIGHT)
    sheet.image.alpha_composite(light.softened(40))


def _hair_behind(sheet: Sheet) -> None:
    sheet.ellipse(384, 322, 226, 240, HAIR)
    sheet.round((158, 320, 610, 610), 90, HAIR)


def _shoulders(sheet: Sheet) -> None:
    sheet.ellipse(384, 812, 318, 196, SHIRT)
    sheet.round((318, 520, 450, 690), 60, SHADE)
    sheet.ellipse(384, 650, 92, 62, SHIRT_DARK)
    sheet.ellipse(384, 640, 78, 56, SKIN)
    sheet.round((320, 520, 448, 640), 50, SKIN)
    sheet.chord((312, 470, 456, 634), 15, 165, SHADE)


def _head(sheet: Sheet) -> None:
    for x in (206, 562):
        sheet.ellipse(x, 396, 28, 44, SKIN)
        sheet.ellipse(x, 398, 14, 26, SHADE)
    sheet.round((212, 190, 556, 590), 168, SKIN)
    cheeks = Sheet(f"{BLUSH}00")
    for x in (268, 500):
        cheeks.ellipse(x, 452, 40, 28, BLUSH)
    soft = cheeks.softened(12)
    soft.putalpha(soft.getchannel("A").point(lambda alpha: alpha // 2))
    sheet.image.alpha_composite(soft)


def _fringe(sheet: Sheet) -> None:
    sheet.chord((196, 112, 572, 470), 180, 360, HAIR)
    sheet.polygon(
        [(200, 290), (568, 290), (574, 400), (548, 330), (504, 292), (396, 292), (360, 306)], HAIR
    )
    sheet.polygon([(200, 290), (360, 306), (236, 316), (196, 400)], HAIR)
    sheet.arc((236, 150, 520, 420), 205, 268, HAIR_LIGHT, 9)
    sheet.arc((268, 172, 520, 420), 210, 260, HAIR_LIGHT, 6)


def _eye(sheet: Sheet, x: float) -> None:
    sheet.ellipse(x, 388, 37, 27, WHITE)
    sheet.ellipse(x, 389, 21, 22, IRIS)
    sheet.ellipse(x, 389, 11, 12, DARK)
    sheet.ellipse(x + 7, 381, 5, 5, WHITE)
    sheet.arc((x - 40, 358, x + 40, 424), 200, 340, DARK, 7)
    sheet.arc((x - 46, 318, x + 46, 378), 205, 335, BROW, 11)


def _nose_and_mouth(sheet: Sheet) -> None:
    sheet.arc((352, 420, 416, 470), 30, 150, SHADE, 8)
    sheet.chord((320, 440, 448, 556), 8, 172, LIP_DARK)
    sheet.chord((330, 462, 438, 540), 6, 174, WHITE)
    sheet.chord((338, 484, 430, 552), 22, 158, LIP)


if __name__ == "__main__":
    draw().quantize(192, dither=Image.Dither.NONE).save(
        Path(__file__).with_name("portrait.png"), optimize=True
    )
