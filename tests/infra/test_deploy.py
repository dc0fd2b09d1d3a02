"""`make deploy` before it reaches AWS: what is missing is named, with its cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.infra.conftest import ROOT


def deploy(path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(path), "AWS_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "infra.deploy", "--check"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_without_the_cdks_command_line_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = deploy(tmp_path)
    assert done.returncode == 1
    assert "npm install -g aws-cdk@2" in done.stderr


def test_without_a_region_nothing_is_tried(tmp_path: Path) -> None:
    cdk = tmp_path / "cdk"
    cdk.write_text("#!/bin/sh\ntouch called\n")
    cdk.chmod(0o755)
    done = deploy(tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "not deployed: no region is chosen: export AWS_REGION=eu-central-1, or another one\n"
    )
    assert not (ROOT / "called").exists()
