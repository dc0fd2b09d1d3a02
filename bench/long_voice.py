"""What cutting and joining a long voice costs: `python -m bench.long_voice [waste | memory [MINUTES
…] | motion]`.

waste    paid seconds beyond the voice's own, over 20 random voices of 10 minutes
memory   the peak of memory and the CPU of cutter and joiner, each in a process of its own
motion   the scores of drawn faces that move, or do not

The voices are noise with pauses as speech has them; the joined pieces are one real video each, used
again and again.
"""

from __future__ import annotations

import array
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageDraw

from functions.segments import cut, join, motion, pieces
from functions.segments.voice import Voice

LIMITS = {"infinitalk": cut.Limits(14.5), "comet": cut.Limits(58, 2), "kling": cut.Limits(295, 2)}
LEVELS_A_SECOND = 50


def main() -> None:
    wanted = sys.argv[1:] or ["waste", "memory", "motion"]
    if wanted[0] in ("cut", "join"):
        child(wanted[0], Path(wanted[1]), wanted[2])
        return
    for name in wanted[:1] if sys.argv[1:] else wanted:
        {"waste": waste, "memory": memory, "motion": motions}[name]()


def waste() -> None:
    for name, limits in LIMITS.items():
        ratios, counts, pauses = [], [], []
        for seed in range(20):
            plan = cut.plan(speech_levels(600, seed), limits)
            ratios.append(sum(plan.paid_seconds) / math.ceil(plan.seconds) - 1)
            counts.append(len(plan.segments))
            pauses.append(sum(one.in_pause for one in plan.segments) / len(plan.segments))
        extra = f"extra paid seconds mean {mean(ratios):.2%}, worst {max(ratios):.2%}"
        paused = f"in pauses {mean(pauses):.1%}"
        most = limits.most_seconds
        print(f"{name:10s} ≤ {most:g} s: {mean(counts):5.1f} pieces, {extra}, {paused}")


def speech_levels(seconds: float, seed: int) -> cut.Levels:
    """Sentences of 2 to 5 s at −20 dB with the dips between syllables, pauses of 0.15 to 0.8 s at
    −66 dB."""
    random_ = random.Random(seed)
    decibels = array.array("f")
    while len(decibels) < seconds * LEVELS_A_SECOND:
        for _ in range(round(random_.uniform(2, 5) * LEVELS_A_SECOND)):
            decibels.append(random_.gauss(-20, 3))
        for _ in range(round(random_.uniform(0.15, 0.8) * LEVELS_A_SECOND)):
            decibels.append(random_.gauss(-66, 1))
    return cut.Levels(decibels, round(len(decibels) / LEVELS_A_SECOND * 16_000), 16_000, 1)


def memory() -> None:
    for minutes in [int(one) for one in sys.argv[2:]] or (10, 60, 180):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "voice.mp3"
            speak(minutes * 60, path)
            for what in ("cut", "join"):
                for model in ("infinitalk", "kling"):
                    command = [sys.executable, "-m", "bench.long_voice", what, str(path), model]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    print(f"{minutes:4d} min {model:10s}", done.stdout, end="", flush=True)


def speak(seconds: int, path: Path) -> None:
    """Noise of sentences of 3.1 s and pauses of 0.4 s, 44.1 kHz stereo; by FFmpeg, as this is not
    what is measured."""
    source = (
        f"anoisesrc=r=44100:a=0.2:d={seconds},volume='if(lt(mod(t,3.5),3.1),1,0.0005)':eval=frame"
    )
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-ac",
        "2",
        "-b:a",
        "128k",
        str(path),
    ]
    subprocess.run(command, check=True)


def child(what: str, path: Path, model: str) -> None:
    """One step in this process; the figures are its own."""
    voice, limits = Voice(path, "audio/mpeg"), LIMITS[model]
    if what == "cut":
        began = time.process_time()
        plan = cut.plan(cut.listen(voice), limits)
        planned = time.process_time() - began
        form = pieces.choose_form(plan, {"audio/wav", "audio/mpeg"}, 10 << 20)
        written = sum(len(one.content) for one in pieces.write(voice, plan, form))
        kind = f"{written / (1 << 20):.0f} MB of {form.content_type}"
        more = f"plan {planned:.1f} s, {len(plan.segments)} pieces, {kind}"
    else:
        plan = cut.plan(cut.listen(voice), limits)
        made = videos(plan, path.parent)
        began = time.process_time()
        out = path.parent / "joined.mp4"
        joined = join.join(voice, plan, made, out, path.parent)
        more = f"{joined.frames} frames, {os.path.getsize(out) / (1 << 20):.0f} MB"
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    share = f"{spent / plan.seconds:.2%} of the voice"
    print(f"{what:5s} peak {peak:4.0f} MB, CPU {spent:6.1f} s = {share} ({more})")


def videos(plan: cut.Plan, folder: Path) -> list[join.Made]:
    """A video of every length that occurs, 480 × 480 and two frames too long; not one for every
    segment."""
    made = []
    for one in plan.segments:
        path = folder / f"{one.frames}.mp4"
        if not path.exists():
            film(path, round(one.frames) + 2)
        made.append(join.Made(one, path))
    return made


def film(path: Path, frames: int) -> None:
    source = f"testsrc2=s=480x480:r=25:d={frames / 25}"
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ]
    subprocess.run(
        [*command, "-bf", "2", "-pix_fmt", "yuv420p", "-t", str(frames / 25), str(path)], check=True
    )


def motions() -> None:
    portrait = (
        Image.open(Path(__file__).parents[1] / "local/samples/portrait.png")
        .convert("RGB")
        .resize((480, 480))
    )
    faces = {"still": 0, "mouth ± 3 pixels": 3, "mouth ± 8 pixels": 8, "mouth ± 16 pixels": 16}
    for name, opening in faces.items():
        scores = [motion.measure(face(portrait, opening, crf)).mouth for crf in (18, 28, 35)]
        print(
            f"{name:18s} mouth {min(scores):.2f} to {max(scores):.2f} (still below {motion.STILL})"
        )


def face(portrait: Image.Image, opening: int, crf: int) -> Path:
    """Six seconds of the portrait with a mouth that opens four times a second."""
    path = Path(tempfile.gettempdir()) / f"face-{opening}-{crf}.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = *portrait.size, "yuv420p"
        for number in range(150):
            picture = portrait.copy()
            height = abs(math.sin(2 * math.pi * 4 * number / 25)) * opening
            ImageDraw.Draw(picture).ellipse(
                (215, 300 - height, 265, 300 + height), fill=(60, 20, 20)
            )
            frame = av.VideoFrame(*portrait.size, "rgb24")
            frame.planes[0].update(picture.tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
