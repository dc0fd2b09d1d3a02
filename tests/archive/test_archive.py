"""The door is the Lambda's handler: a task in ARCHIVING, a video at a URL, an archive."""

from __future__ import annotations

import hashlib
import json

from tests.archive.conftest import Vault
from tests.archive.films import film
from tests.archive.internet import Internet, Visit

URL = "https://files.example.com/out/281e.mp4?X-Amz-Signature=secret"


def serve(content: bytes, **headers: object):
    def answer(visit: Visit) -> None:
        visit.head(Content_Length=len(content), Content_Type="video/mp4", **headers)
        visit.send(content)

    return answer


def test_a_video_lands_in_the_archive_with_its_manifest(vault: Vault, internet: Internet) -> None:
    content = film(3_000_000)
    internet.site("files.example.com", serve(content))
    vault.open_task(URL)
    answer = vault.run()
    folder = f"videos/2026/11/21/{vault.bucket}"
    assert answer["next"] == "settle"
    assert answer["archived"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert vault.read(f"{folder}/hello.mp4") == content
    manifest = json.loads(vault.read(f"{folder}/manifest.json"))
    assert manifest["video"] == answer["archived"]
    print(manifest)
    assert vault.run() == answer
