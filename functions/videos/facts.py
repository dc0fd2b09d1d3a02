"""What is known of an archived video, and the proof that it is its task's: alike for one that was
fetched and for one that was joined."""

from __future__ import annotations

from functions.tasks.shares import MotionFacts
from functions.tasks.task import ArchivedVideo, Task
from functions.videos import mp4
from functions.videos.bucket import StoredObject
from functions.videos.mp4 import NotAVideo
from functions.videos.paths import ArchivePaths

# Providers add a second or round up (kie: 12.267 s of video for 11.52 s of voice). What is far from
# the voice is not this task's video.
_SHORTEST, _LONGEST, _SLACK_SECONDS = 0.5, 2.0, 10.0
_NOTABLE = 0.1  # of the voice: what differs by more is archived with a warning


def of_stored(
    task: Task,
    path: ArchivePaths,
    stored: StoredObject,
    sha256: bytes,
    seconds: float,
    motion: MotionFacts | None = None,
    still: str = "",
) -> ArchivedVideo:
    """The facts of its manifest, its row and its event. `still` warns of a video in which nothing
    moves."""
    video: ArchivedVideo = {
        "bucket": path.bucket,
        "key": path.key,
        "version_id": stored.version_id,
        "etag": stored.etag,
        "sha256": sha256.hex(),
        "bytes": stored.bytes,
        "seconds": round(seconds, 3),
        "manifest_key": path.manifest_key,
        "ai_generated": True,
    }
    if motion is not None:
        video["motion"] = motion
    if warnings := [one for one in (_duration_warning(seconds, task), still) if one]:
        video["warning"] = "; ".join(warnings)
    return video


def prove(walk: mp4.Walk, task: Task) -> float:
    """Its length in seconds, 0 where it does not say. Raises NotAVideo."""
    seconds = walk.finish()
    voice = float(task.audio.get("seconds") or 0)
    # Fragments without an index may be cut between two of them: then only the voice shows it.
    least = voice * _SHORTEST - 1 if walk.is_proved_whole else voice - 1
    if seconds and voice and not least <= seconds <= voice * _LONGEST + _SLACK_SECONDS:
        raise NotAVideo(f"it lasts {seconds:.1f} s for a voice of {voice:.1f} s")
    return seconds


def _duration_warning(seconds: float, task: Task) -> str:
    """Empty where the video is as long as its voice; a person may want to look at the others."""
    voice = float(task.audio.get("seconds") or 0)
    if not seconds or not voice or abs(seconds - voice) <= voice * _NOTABLE:
        return ""
    change = "longer" if seconds > voice else "shorter"
    percent = round(100 * abs(seconds - voice) / voice)
    return f"the video lasts {seconds:.1f} s, {percent} % {change} than its voice of {voice:.1f} s"
