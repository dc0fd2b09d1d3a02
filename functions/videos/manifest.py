"""What an archived video says of itself: the manifest beside it, metadata and tags on it. The
manifest is written last, so where it lies the video lies, proved."""

from __future__ import annotations

import json
import re
from typing import cast
from urllib.parse import quote, urlencode

from functions.tasks.table import stamp
from functions.tasks.task import ArchivedVideo, StoredFile, Task
from functions.videos import bucket
from functions.videos.bucket import AlreadyThere, ObjectHeaders, StoredObject
from functions.videos.paths import ArchivePaths

SCHEMA = 1
# A machine reads from these that the video is synthetic, on the object as in the manifest.
# https://cv.iptc.org/newscodes/digitalsourcetype/
AI_MARKS = {
    "ai-generated": "true",
    "digital-source-type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
}
FACTS = ("bucket", "key", "version_id", "etag", "sha256", "bytes", "seconds", "manifest_key")
_TAG_CHARACTERS = 256  # of S3
_NO_TAG = re.compile(r"[^\w +\-=.:/@]", re.ASCII)
_OF_AN_INPUT = (
    "bucket", "key", "version_id", "etag", "checksum", "bytes", "content_type", "seconds",
)  # fmt: skip


class ManifestDamaged(Exception):
    """What lies under the manifest's key is none of ours, or not whole."""


def read(path: ArchivePaths) -> ArchivedVideo | None:
    """The video's facts from its manifest, None if there is none yet. Raises ManifestDamaged."""
    content = bucket.get_small(path.bucket, path.manifest_key)
    if content is None:
        return None
    try:
        video = cast(ArchivedVideo, dict(json.loads(content)["video"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestDamaged(f"{type(error).__name__}: {error}") from error
    if missing := [name for name in FACTS if name not in video]:
        raise ManifestDamaged(f"its video has no: {', '.join(missing)}")
    return video


def write(
    task: Task, path: ArchivePaths, video: ArchivedVideo, stored: StoredObject, **more: object
) -> None:
    """Written once; a second writer leaves it. Written again from the same facts it would be the
    same. `more`: facts that only some videos have."""
    facts = {**_content(task, video, stored), **more}
    content = json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True, default=float)
    try:
        bucket.put_small(path.bucket, path.manifest_key, content.encode(), "application/json")
    except AlreadyThere:
        return


def _content(task: Task, video: ArchivedVideo, stored: StoredObject) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "provider": task.provider,
        "model": task.model,
        "job_id": task.job_id,
        "prompt": task.prompt,
        "settings": dict(task.settings),
        "inputs": {"portrait": _input(task.portrait), "audio": _input(task.audio)},
        "video": dict(video),
        "ai_generated": True,
        "digital_source_type": AI_MARKS["digital-source-type"],
        "watermark": task.watermark or None,
        "consent": dict(task.consent) or None,
        "stem": task.stem,
        "charge_usd": task.charge_usd,
        "created_at": task.created_at,
        "submitted_at": task.submitted_at or None,
        "archived_at": stamp(stored.stored_at),
    }


def _input(media: StoredFile) -> dict[str, object]:
    return {name: value for name, value in media.items() if name in _OF_AN_INPUT}


def object_headers(task: Task) -> ObjectHeaders:
    """Metadata and tags of the object itself, for a reader without its manifest."""
    source = str((task.audio or task.portrait).get("key", ""))
    metadata = {
        "task-id": task.task_id,
        "provider": task.provider,
        "model": task.model,
        "job-id": task.job_id,
        # percent-encoded: a header holds ASCII, a key any script
        "source-key": quote(source, safe="/"),
        **AI_MARKS,
    }
    tags = {"provider": task.provider, "model": task.model, "source": source}
    ascii_only = {name: text.encode("ascii", "replace").decode() for name, text in metadata.items()}
    copied = {"reused": "true"} if task.reused else {}
    return {
        "ContentType": "video/mp4",
        "Metadata": ascii_only,
        "Tagging": urlencode({**_tags(tags), "ai_generated": "true", **copied}),
    }


def _tags(facts: dict[str, str]) -> dict[str, str]:
    return {name: _NO_TAG.sub("_", text)[:_TAG_CHARACTERS] for name, text in facts.items() if text}
