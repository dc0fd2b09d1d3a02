"""The embedded run, up once for all journeys; a second one that hangs no bells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local import world
from local.screen import Screen
from tests.journey.scene import Scene


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from _up(tmp_path_factory.mktemp("journey"), {})


@pytest.fixture
def scene_without_bells(tmp_path: Path) -> Iterator[Scene]:
    """Callbacks switched off: what is done is found by asking."""
    yield from _up(tmp_path, {"callbacks": False})


def _up(state: Path, options: Mapping[str, Any]) -> Iterator[Scene]:
    running = world.raise_up(Screen(), options, state=state)
    try:
        yield Scene(running)
    finally:
        running.stop()
