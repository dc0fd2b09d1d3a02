"""What a video shows: a mouth that moves; nothing that moves; or a flash at every beep."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from functions.segments import motion
from tests.segments.conftest import saved, sentences
from tests.segments.test_join import FRAME, watched
from tests.simulator.conftest import Client, plain, until

RATE = 16_000


def video(client: Client, **fields: Any) -> bytes:
    job = client.kie(**fields).json()["data"]["taskId"]
    record = until(lambda: (found := client.kie_record(job))["state"] == "success" and found)
    return plain.get(json.loads(record["resultJson"])["resultUrls"][0]).content


def test_a_mouth_moves_unless_a_fault_freezes_the_face(client: Client) -> None:
    assert not motion.measure(io.BytesIO(video(client))).is_still
    client.simulator.fault("frozen", count=1)
    assert motion.measure(io.BytesIO(video(client))).is_still
    assert not motion.measure(io.BytesIO(video(client))).is_still


@pytest.mark.parametrize("surplus", [0, 5])
def test_a_video_flashes_where_its_voice_beeps_and_is_a_few_frames_too_long(
    client: Client, tmp_path: Path, surplus: int
) -> None:
    samples, beeps = sentences(4.0, RATE, seed=1)
    spoken = saved(samples, tmp_path, "voice.wav", RATE, 1)
    client.simulator.fault("flash", surplus=surplus)
    made = tmp_path / "made.mp4"
    made.write_bytes(video(client, audio_url=client.shelf.put("v.wav", spoken.read_bytes())))
    seen = watched(made, RATE)
    assert len(seen.flashes) == len(beeps)
    assert all(abs(flash - beep) <= FRAME for flash, beep in zip(seen.flashes, beeps, strict=True))
    assert -FRAME <= seen.ends_at - 4.0 <= (surplus + 1) * FRAME
