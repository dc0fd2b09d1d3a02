"""A real video from a portrait and a voice, and a voice from a text: ffmpeg, as cheaply as it
goes."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from local.simulator.jobs import Job
from local.simulator.media import FFMPEG, Library, Medium

WIDEST, HIGHEST, FRAMES_PER_SECOND = 480, 854, 2
_FITTED = (
    f"scale='min({WIDEST},iw)':'min({HIGHEST},ih)':force_original_aspect_ratio=decrease,"
    "scale='max(2,trunc(iw/2)*2)':'max(2,trunc(ih/2)*2)',format=yuv420p"
)
# Open in every other picture, where the mouth of a portrait is.
_MOUTH = "drawbox=x=iw*0.42:y=ih*0.62:w=iw*0.16:h=ih*0.06:color=black:t=fill:enable='mod(n,2)'"
# fmt: off
_ENCODED = (
    "-c:v", "libx264", "-preset", "ultrafast", "-tune", "stillimage", "-crf", "30", "-g", "300",
    "-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k",
)
# fmt: on
LETTERS_PER_SECOND = {"en": 14.0, "zh": 4.5}


class RenderError(Exception):
    """ffmpeg could not make a video of these files."""


class Renderer:
    """A small pool; the same portrait and voice are rendered once, also over a restart."""

    def __init__(self, folder: Path, library: Library, workers: int) -> None:
        self._folder, self._library = folder, library
        folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="simulator-render")
        self._lock = threading.Lock()
        self._ordered: dict[str, Future[str]] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def path(self, name: str) -> Path:
        return self._folder / name

    def video(self, job: Job) -> Future[str]:
        """The name of the file that will hold it; RenderError if it cannot be made."""
        seed = f"{job.portrait} {job.voice} {job.mode} {job.look}"
        name = hashlib.sha256(seed.encode()).hexdigest()[:32] + ".mp4"
        with self._lock:
            if name not in self._ordered:
                self._ordered[name] = self._pool.submit(self._render, name, job)
            return self._ordered[name]

    def speech(self, text: str, language: str, rate: float) -> Medium:
        """Not speech, but a buzz of a voice's pitch in the rhythm of syllables, as long as the text
        would take."""
        length = max(
            0.4, len(text) / LETTERS_PER_SECOND.get(language, LETTERS_PER_SECOND["en"]) / rate
        )
        pitch = 110 + int(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:2], 16) // 4
        wave = "+".join(f"{1 / n:.3f}*sin({n}*2*PI*{pitch}*t)" for n in range(1, 9))
        name = (
            hashlib.sha256(f"{text} {language} {rate}".encode(errors="replace")).hexdigest()[:32]
            + ".mp3"
        )
        if not self.path(name).exists():
            source = (
                f"aevalsrc='0.25*({wave})*pow(sin(PI*{4 * rate:.2f}*t),2)':s=24000:d={length:.2f}"
            )
            self._make(name, ["-f", "lavfi", "-i", source, "-c:a", "libmp3lame", "-b:a", "48k"])
        return self._library.keep(self.path(name).read_bytes())

    def _render(self, name: str, job: Job) -> str:
        portrait, voice = self._library.path(job.portrait), self._library.path(job.voice)
        if self.path(name).exists():
            return name
        if job.look.startswith("flash"):
            self._flash(name, voice, surplus=int(job.look.split()[1]))
            return name
        # One decoded picture that repeats; `-loop 1` would decode the file for each frame.
        film = f"{_FITTED},loop=loop=-1:size=1:start=0,setpts=N/{FRAMES_PER_SECOND}/TB"
        mouth = "" if job.look == "frozen" else f",{_MOUTH}"
        film = f"[0:v:0]{film},fps={FRAMES_PER_SECOND}{mouth}[v]"
        how = ["-i", str(portrait), "-i", str(voice), "-filter_complex", film]
        how += ["-map", "[v]", "-map", "1:a:0", *_ENCODED, "-t", f"{job.seconds:.2f}"]
        self._make(name, [*how, "-movflags", "+faststart"])
        return name

    def _flash(self, name: str, voice: Path, *, surplus: int) -> None:
        # PyAV takes 0.2 s to import, and hardly any run wants it.
        from local.simulator import flashes

        unfinished = self.path(f"{threading.get_ident()}-{name}")
        flashes.render(voice.read_bytes(), unfinished, surplus=surplus)
        unfinished.replace(self.path(name))

    def _make(self, name: str, how: list[str]) -> None:
        unfinished = self.path(f"{threading.get_ident()}-{name}")
        command = [
            FFMPEG,
            "-hide_banner",
            "-nostdin",
            "-y",
            "-loglevel",
            "error",
            "-threads",
            "1",
            *how,
            str(unfinished),
        ]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            unfinished.unlink(missing_ok=True)
            raise RenderError(done.stderr.decode(errors="replace").strip()[-400:])
        unfinished.replace(self.path(name))
