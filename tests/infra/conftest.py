"""The template as `app.py` makes it: without a CLI, an account, Docker, or Node on the PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import app
from tests.infra.template import Template

ROOT = Path(__file__).parents[2]


def synthesise(directory: Path, **context: object) -> subprocess.CompletedProcess[str]:
    """Run app.py in a process of its own, as the CDK's command line does, with this context beside
    cdk.json's; its cloud assembly is in `directory`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "CDK_", "JSII_"))
    }
    environment |= {
        "PATH": "/nonexistent",
        "CDK_OUTDIR": str(directory),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def template_in(directory: Path, **context: object) -> Template:
    """The same in this process, where Node already runs: it takes a quarter of the time."""
    app.synthesise(directory, context)
    (path,) = directory.glob("*.template.json")
    return Template(json.loads(path.read_text()), path)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """What a customer deploys who chose nothing."""
    return template_in(tmp_path_factory.mktemp("prod"))


@pytest.fixture(scope="session")
def for_trying(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Another stage, whose data may go, with options and figures of its own."""
    return template_in(
        tmp_path_factory.mktemp("dev"),
        stage="dev",
        keep_data=False,
        log_days="7",
        inbox_expire_days=10,
        archive_cold_after_days=20,
        archive_expire_days=40,
        alarm_email="a@example.com",
        notify_email="n@example.com",
        providers=["comet", "kie", "kling", "relay"],
        lambda_quota=1000,
        callback_base_url="https://callbacks.example.com",
        options='{"sweep_minutes": 10, "drop_delay_seconds": 0}',
    )


@pytest.fixture(scope="session")
def with_summary(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """One mail a day instead of one for each task."""
    return template_in(
        tmp_path_factory.mktemp("daily"), notify_email="n@example.com", notify="daily"
    )
