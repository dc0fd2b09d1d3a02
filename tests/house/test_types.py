"""mypy reads of the CDK what we use and nothing else: what it does not read, it takes for Any."""

from __future__ import annotations

import importlib.util
import tomllib

from tests.house.test_rules import ROOT, imports


def followed() -> set[str]:
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (modules,) = [one["module"] for one in overrides if one.get("follow_imports") == "normal"]
    return set(modules)


def used() -> set[str]:
    folders = ("infra", "local", "tests/infra")
    files = [ROOT / "app.py", *(one for name in folders for one in (ROOT / name).rglob("*.py"))]
    names = {name for path in files for name in imports(path) if name.startswith("aws_cdk")}
    services = {name for name in names if name.startswith("aws_cdk.aws_")}
    bases = {name.replace("aws_cdk.", "aws_cdk.interfaces.") for name in services}
    return services | {name for name in bases if importlib.util.find_spec(name)}


def test_mypy_reads_every_service_of_the_cdk_that_we_import_and_what_it_inherits() -> None:
    of_services = {name for name in followed() if ".aws_" in name}
    assert of_services == used()
