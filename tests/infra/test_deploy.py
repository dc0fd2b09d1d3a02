"""`make deploy` before it reaches AWS: what is missing is named, with its cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT


def deploy(path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(path), "AWS_CONFIG_FILE": os.devnull}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", **more}
    command = [sys.executable, "-m", "infra.deploy", "--check"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_without_the_cdks_command_line_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = deploy(tmp_path)
    assert done.returncode == 1
    assert "npm install -g aws-cdk@2" in done.stderr


def test_without_a_region_nothing_is_tried(tmp_path: Path) -> None:
    cdk_in(tmp_path)
    done = deploy(tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "not deployed: no region is chosen: export AWS_REGION=eu-central-1, or another one\n"
    )
    assert not (ROOT / "called").exists()


def cdk_in(directory: Path) -> None:
    """A command line of the CDK that only says that it was called."""
    cdk = directory / "cdk"
    cdk.write_text("#!/bin/sh\ntouch called\n")
    cdk.chmod(0o755)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_without_credentials_it_says_how_to_get_them_whichever_way_the_region_is_named(
    tmp_path: Path, name: str
) -> None:
    """The CDK and the AWS CLI read both names, boto3 the second alone."""
    cdk_in(tmp_path)
    done = deploy(tmp_path, **{name: "eu-central-1"})
    assert done.returncode == 1
    assert done.stderr.startswith("not deployed: there are no AWS credentials: aws sso login")


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    cdk_in(tmp_path)
    done = deploy(tmp_path, AWS_REGION="eu-central-1", AWS_PROFILE="nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "look at AWS_PROFILE" in done.stderr
    assert "Traceback" not in done.stderr
