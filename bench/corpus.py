"""Every sound and film of the corpus, inspected as the handlers do, against what ffmpeg decodes.

    python -m bench.corpus [sounds|films]

The last line counts: files; lengths that are off by more than 2 %; whole files refused; files that
should be refused and are not; cuts, and those that pass as whole.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from functions.inputs.audio import inspect_audio
from functions.inputs.refusals import NotMedia
from functions.inputs.source import of_bytes
from functions.videos import mp4
from tests.inputs import corpus
from tests.inputs.corpus import SECONDS, Case

TOLERANCE, LEAST_SECONDS = 0.02, 0.05


def main() -> None:
    chosen = sys.argv[1:] or ["sounds", "films"]
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for kind in chosen:
            cases = corpus.films() if kind == "films" else corpus.sounds()
            for found in pool.map(film if kind == "films" else sound, cases):
                counts.update({f"{kind} {name}": count for name, count in found.items()})
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))


def off(measured: float, real: float) -> bool:
    return abs(measured - real) > max(TOLERANCE * real, LEAST_SECONDS)


def sound(case: Case) -> Counter[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            content = corpus.make(case, folder, film=False)
        except subprocess.CalledProcessError:
            return report(case, "not made by this ffmpeg")
        counts = Counter(files=1)
        try:
            seconds = inspect_audio(of_bytes(case.name, content)).seconds
        except NotMedia as error:
            return counts + (
                report(case, "refused though whole", error) if case.is_taken else Counter(refused=1)
            )
        if not case.is_taken:
            return counts + report(case, "taken though no vendor names it")
        real = corpus.decoded(content, case.name, folder, film=False)
        if off(seconds, real):
            counts += report(case, "off by more than 2 %", f"{seconds:.3f} for {real:.3f}")
        for size in corpus.cuts(content):
            counts["cuts"] += 1
            try:
                left = inspect_audio(of_bytes(case.name, content[:size])).seconds
            except NotMedia:
                counts["cuts refused"] += 1
                continue
            there = corpus.decoded(content[:size], case.name, folder, film=False)
            if off(left, there):
                counts += report(
                    case, "cuts measured wrongly", f"at {size}: {left:.3f} for {there:.3f}"
                )
            elif there == real or corpus.loses_nothing(case, content, size):
                counts["cuts that lose no sound"] += 1
            elif corpus.ends_with_a_frame(content, size):
                counts["cuts between two frames that nothing numbers"] += 1
            else:
                counts += report(case, "cuts taken", f"at {size} of {len(content)}: {left:.3f}")
        return counts


def film(case: Case) -> Counter[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            content = corpus.make(case, folder, film=True)
        except subprocess.CalledProcessError:
            return report(case, "not made by this ffmpeg")
        counts = Counter(files=1)
        try:
            seconds = walked(content)
        except mp4.NotAVideo as error:
            return counts + report(case, "refused though whole", error)
        real = corpus.decoded(content, case.name, folder, film=True)
        if off(seconds, real):
            counts += report(case, "off by more than 2 %", f"{seconds:.3f} for {real:.3f}")
        for size in corpus.cuts(content):
            counts["cuts"] += 1
            try:
                left = walked(content[:size])
            except mp4.NotAVideo:
                counts["cuts refused"] += 1
                continue
            lost = real - corpus.decoded(content[:size], case.name, folder, film=True)
            if not off(real - lost, real):
                counts["cuts that lose no picture"] += 1
            elif lost <= left_open(content[:size]):
                counts["cuts between two fragments, within a second of the voice"] += 1
            else:
                counts += report(case, "cuts taken", f"at {size} of {len(content)}: {left:.3f}")
        return counts


def walked(content: bytes) -> float:
    """As the archive does it for a voice of SECONDS."""
    walk = mp4.Walk()
    walk.feed(content)
    seconds = walk.finish()
    if not walk.is_proved_whole and seconds < SECONDS - 1:
        raise mp4.NotAVideo("its last fragments are missing")
    return seconds


def left_open(content: bytes) -> float:
    """Seconds that may be missing at the end: a film of fragments without any index, broken off
    between two of them, is held against its voice alone."""
    walk = mp4.Walk()
    walk.feed(content)
    walk.finish()
    return 0.0 if walk.is_proved_whole else 1.0


def report(case: Case, what: str, why: object = "") -> Counter[str]:
    print(f"{what}: {case.label} {why}", flush=True)
    return Counter({what: 1})


if __name__ == "__main__":
    main()
