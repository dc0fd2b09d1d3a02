"""The embedded run, started once for all journeys; and a second one, as on a laptop: no provider
can reach it.

The two and those of `local run` do not know of each other, so each has an xdist group, and with
`-n 3 --dist loadgroup` the three wait side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local import environment, live
from local.screen import Screen
from tests.journey.scene import CASES, Scene

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from _up(tmp_path_factory.mktemp("journey"), {})


@pytest.fixture(scope="session")
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
        scene = Scene(running)
        for name, settings in CASES.items():  # at once: they are made while other tests wait
            scene.drop_task(name, settings)
        yield scene
    finally:
        running.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and not item.get_closest_marker("xdist_group"):
            is_command = item.path.stem == "test_live"
            item.add_marker(pytest.mark.xdist_group("command" if is_command else "scene"))
