"""The embedded run, up once for all journeys; and a second one, as a laptop is: no provider can
reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local import environment
from local.__main__ import LIVE_DELIVERY
from local.screen import Screen
from tests.journey.scene import Scene


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from _up(tmp_path_factory.mktemp("journey"), {})


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Callbacks off: what is done is found by asking. Media travel in the request or by the
    provider's own upload."""
    yield from _up(
        tmp_path_factory.mktemp("laptop"), {"callbacks": False, "media_delivery": LIVE_DELIVERY}
    )


def _up(state: Path, options: Mapping[str, Any]) -> Iterator[Scene]:
    running = environment.raise_up(Screen(), options, state=state)
    try:
        yield Scene(running)
    finally:
        running.stop()
