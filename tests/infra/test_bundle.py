"""The bundle every Lambda gets."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import ssl
import sys
from pathlib import Path

import pytest
from botocore import xform_name

from functions import settings
from infra import bundle as bundles
from tests.infra.conftest import ROOT
from tests.infra.template import Template

MINOR = bundles.lambda_minor()
# Methods of a client that name their operation, and those that are none.
NAMING = ("get_paginator", "generate_presigned_url")
NO_OPERATIONS = {"exceptions", "generate_presigned_post", "meta"}


@pytest.fixture(scope="module")
def bundle() -> Path:
    return bundles.bundle("aws")


def test_it_holds_the_functions_and_their_wheels_for_lambda(bundle: Path) -> None:
    sources = {path.relative_to(ROOT) for path in (ROOT / "functions").rglob("*.py")}
    assert {
        path for path in sources if (bundle / path).read_bytes() == (ROOT / path).read_bytes()
    } == sources
    native = {path.name for path in bundle.rglob("*.so")}
    assert native
    assert {name for name in native if f"cpython-3{MINOR}-aarch64-linux-gnu" in name} == native


def test_the_lambdas_run_the_python_that_the_bundle_is_for(
    template: Template, bundle: Path
) -> None:
    assert {one["Runtime"] for one in template.functions().values()} == {f"python3.{MINOR}"}
    assert bundles.can_compile("aws") == (sys.version_info[1] == MINOR)


def test_every_module_of_ours_is_compiled_to_byte_code_that_needs_no_look_at_its_source(
    bundle: Path,
) -> None:
    if not bundles.can_compile("aws"):
        assert not list(bundle.rglob("*.pyc"))
        return
    for source in [*(bundle / "functions").rglob("*.py"), bundle / "botocore" / "client.py"]:
        compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(compiled[4:8], "little") == 0b01  # by hash, unchecked (PEP 552)
        assert str(ROOT).encode() not in compiled


def test_botocore_is_shipped_as_pinned_so_that_the_archive_rests_on_no_version_of_lambdas(
    bundle: Path,
) -> None:
    pinned = (ROOT / "functions" / "requirements.txt").read_text()
    (version,) = re.findall(r"^botocore==(\S+)", pinned, re.MULTILINE)
    assert (bundle / f"botocore-{version}.dist-info").is_dir()


def test_botocore_brings_the_data_of_the_services_that_are_used_and_no_others(
    bundle: Path,
) -> None:
    source = Path(settings.__file__).read_text()
    used = set(re.findall(r'def aws\(service: Literal\["(\w+)"\]\)', source))
    data = bundle / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == used == bundles.SERVICES
    assert (data / "endpoints.json").exists()
    assert (data / "partitions.json").exists()


def test_botocore_brings_the_operations_that_are_called_and_no_others(bundle: Path) -> None:
    for service, called in _called().items():
        own = bundles.BOTOCORES_OWN.get(service, ())
        names = {xform_name(name): name for name in (*bundles.OPERATIONS[service], *own)}
        assert called == {xform_name(name) for name in bundles.OPERATIONS[service]}, service
        (newest,) = sorted((bundle / "botocore" / "data" / service).glob("*/service-2.json"))[-1:]
        model = json.loads(newest.read_text())
        assert set(model["operations"]) == set(names.values()), service


def _called() -> dict[str, set[str]]:
    """By service the methods of its client in functions/: of `aws("s3")` itself, or of the name it
    is given; and what its paginators and its links are for."""
    found: dict[str, set[str]] = {service: set() for service in bundles.SERVICES}
    for path in (ROOT / "functions").rglob("*.py"):
        text = path.read_text()
        clients = {re.escape(f'aws("{service}")'): service for service in found}
        clients |= {
            rf"\b{name}": one for name, one in re.findall(r'(\w+) = aws\("(\w+)"\)\n', text)
        }
        for client, service in clients.items():
            calls = re.findall(rf'{client}\s*\.(\w+)(?:\(\s*"(\w+)")?', text)
            found[service] |= {named if method in NAMING else method for method, named in calls}
    return {service: methods - NO_OPERATIONS for service, methods in found.items()}


def test_amazons_own_roots_are_beside_the_functions(bundle: Path) -> None:
    context = ssl.create_default_context(cafile=str(bundle / settings.AMAZON_ROOTS.name))
    names = {str(dict(one[0] for one in root["subject"])) for root in context.get_ca_certs()}
    assert len(names) == len(bundles.ROOTS_OF_AMAZON)
    assert all("Amazon" in name or "Starfield" in name for name in names)


def test_it_holds_nothing_of_this_machine_and_nothing_that_no_lambda_runs(bundle: Path) -> None:
    names = {path.name for path in bundle.rglob("*")}
    assert not names & {"RECORD", "INSTALLER", "bin", "tests", "direct_url.json"}
    assert not [path for path in bundle.rglob("*.py") if str(ROOT).encode() in path.read_bytes()]


def test_it_is_small_enough_to_be_read_and_started_quickly(bundle: Path) -> None:
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < 50 << 20


def test_it_is_made_once(bundle: Path) -> None:
    assert bundles.bundle("aws") == bundle


def test_made_twice_of_the_same_files_it_has_one_hash(tmp_path: Path, bundle: Path) -> None:
    hashes = set()
    for name in ("one", "other"):
        shutil.copytree(ROOT / "functions", tmp_path / name, ignore=lambda *_: ["__pycache__"])
        bundles._compile(tmp_path / name, "host")
        assert list((tmp_path / name).rglob("*.pyc"))
        hashes.add(bundles.hash_of(tmp_path / name))
    assert len(hashes) == 1


def test_the_hash_knows_names_and_contents_and_not_times(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "a.py").write_text("a")
    (one / "b.py").write_text("b")
    shutil.copytree(one, other)
    os.utime(other / "a.py", (0, 0))
    assert bundles.hash_of(one) == bundles.hash_of(other)
    (other / "b.py").rename(other / "c.py")
    assert bundles.hash_of(one) != bundles.hash_of(other)


def test_the_bundle_with_pyav_is_the_other_and_pyav_for_lambdas_processor(bundle: Path) -> None:
    more = bundles.bundle("aws", with_pyav=True)
    assert bundles.bundle("aws", with_pyav=True) == more
    theirs, ours = (
        {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
        for one in (bundle, more)
    )
    assert theirs <= ours
    added = {path.parts[0].partition("-")[0] for path in ours - theirs}
    assert added == {"av", "av.libs"}
    native = [path.name for path in (more / "av").rglob("*.so")]
    assert native
    assert all("aarch64-linux-gnu" in name or "abi3" in name for name in native)
    unpacked = sum(path.stat().st_size for path in more.rglob("*") if path.is_file())
    assert unpacked < 200 << 20  # Lambda unpacks 250 MB at most
