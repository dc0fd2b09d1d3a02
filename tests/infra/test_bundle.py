"""The bundle every Lambda gets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from infra import function
from tests.infra.conftest import ROOT


@pytest.fixture(scope="module")
def bundle() -> Path:
    return function.bundle("aws")


def test_it_holds_the_functions_and_their_wheels_for_lambda(bundle: Path) -> None:
    sources = {path.relative_to(ROOT) for path in (ROOT / "functions").rglob("*.py")}
    assert {
        path for path in sources if (bundle / path).read_bytes() == (ROOT / path).read_bytes()
    } == sources
    native = {path.name for path in bundle.rglob("*.so")}
    assert native
    assert {name for name in native if "cpython-313-aarch64-linux-gnu" in name} == native
    assert not (bundle / "boto3").exists()  # Lambda has it


def test_it_holds_nothing_of_this_machine_and_nothing_that_no_lambda_runs(bundle: Path) -> None:
    names = {path.name for path in bundle.rglob("*")}
    assert not names & {"__pycache__", "RECORD", "INSTALLER", "bin", "tests", "direct_url.json"}
    assert not [path for path in bundle.rglob("*.py") if str(ROOT).encode() in path.read_bytes()]


def test_it_is_small_enough_to_be_read_and_started_quickly(bundle: Path) -> None:
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < 40 << 20


def test_it_is_made_once(bundle: Path) -> None:
    assert function.bundle("aws") == bundle


def test_the_hash_knows_names_and_contents_and_not_times(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "a.py").write_text("a")
    (one / "b.py").write_text("b")
    shutil.copytree(one, other)
    os.utime(other / "a.py", (0, 0))
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert function.hash_of(one) == function.hash_of(other)
    (other / "b.py").rename(other / "c.py")
    assert function.hash_of(one) != function.hash_of(other)
