"""Each test begins without cached clients: those of other tests lead to an emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions import secrets, settings
from tests.faults import wires


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    settings.forget()
    secrets.forget()
    yield
    wires.release()
    settings.forget()
    secrets.forget()
