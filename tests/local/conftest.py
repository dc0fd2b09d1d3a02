"""Two emulators: one as it comes, one as we run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import cloud


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    """The emulator as it comes."""
    yield from _running(tmp_path_factory.mktemp("stock"), stock=True)


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    """The emulator as we run it, two processes a function."""
    yield from _running(tmp_path_factory.mktemp("patched"), stock=False)


def _running(state: Path, *, stock: bool) -> Iterator[cloud.Cloud]:
    cloud.forget_aws()
    running = cloud.start(state, processes=2, stock=stock)
    yield running
    running.stop()
