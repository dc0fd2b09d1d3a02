"""The embedded run, started once for all journeys; and a second one, as on a laptop: no provider
can reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local import environment, live
from local.screen import Screen
from tests.journey.scene import Scene


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from _up(tmp_path_factory.mktemp("journey"), {})


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Callbacks off: the outcome is found by polling. Media go in the request or by the provider's
    own upload."""
    yield from _up(
        tmp_path_factory.mktemp("laptop"),
        {"callbacks": False, "media_delivery": live.MEDIA_DELIVERY},
    )


def _up(state: Path, options: Mapping[str, Any]) -> Iterator[Scene]:
    running = environment.start(Screen(), options, state=state)
    try:
        yield Scene(running)
    finally:
        running.stop()
