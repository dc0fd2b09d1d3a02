"""Is it a video, whole, and how long? Found out while the bytes stream by."""

from __future__ import annotations

from functions import movie


class NotAVideo(Exception):
    """What came is not a whole MP4 video."""


class Walk(movie.Reader):
    """Feed it the file from the start and call `finish` at the end; either raises NotAVideo."""

    def __init__(self) -> None:
        super().__init__(NotAVideo)
        self.is_proved_whole = False

    def finish(self) -> float:
        """The video's length in seconds. Afterwards `is_proved_whole` is False where only the
        voice's length can show that no fragment is missing at the end."""
        found = self.result()
        pictures = [track for track in found.tracks if track.kind == "vide"]
        if not pictures:
            raise NotAVideo("it has no video track")
        seconds = max(found.seconds(track) for track in pictures) or found.header_seconds
        if not seconds:
            raise NotAVideo("it lasts no time")
        self.is_proved_whole = found.is_indexed
        return seconds
