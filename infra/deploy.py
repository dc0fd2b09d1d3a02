"""`make deploy`: check the account, show the difference, deploy, then look whether it is ready.

    .venv/bin/python -m infra.deploy [--stage dev] [--yes] [--check]

Needs credentials in the environment and the CDK's command line; nothing is written before the
difference was shown. What is chosen stands in cdk.json, never on this command line, so that the
next deployment forgets none of it; only the account's own quota is looked up each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ProfileNotFound,
)

ROOT = Path(__file__).parent.parent
BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
LEAST_BOOTSTRAP = 21


class NotReady(Exception):
    """Something is missing before a deployment can begin; the message names the cure."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy Talkdrop to AWS.")
    parser.add_argument("--stage", default="", help="another stage than cdk.json names")
    parser.add_argument("--yes", action="store_true", help="deploy without asking")
    parser.add_argument("--check", action="store_true", help="only check and show the difference")
    chosen = parser.parse_args()
    try:
        cdk = _cdk()
        context = [*_check_account(_session()), *_stage(chosen.stage)]
    except NotReady as reason:
        print(f"not deployed: {reason}", file=sys.stderr)
        return 1
    _run([*cdk, "diff", *context])
    if chosen.check or not (chosen.yes or input("deploy this? [y/N] ").lower() == "y"):
        print("nothing was deployed")
        return 0
    done = _run([*cdk, "deploy", "--require-approval", "never", *context])
    if done:
        return done
    stage = chosen.stage or _written("stage") or "prod"
    name = "Talkdrop" if stage == "prod" else f"Talkdrop-{stage}"
    return _run([sys.executable, "-m", "talkdrop", "--stack", name, "doctor"])


def _session() -> boto3.session.Session:
    """In the region that the CDK takes: AWS_REGION, which boto3 does not read, comes first."""
    try:
        return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    except ProfileNotFound as error:
        raise NotReady(f"{error}: look at AWS_PROFILE and ~/.aws/config") from error


def _cdk() -> list[str]:
    """The CDK's command line: the one on the PATH, else the project's by npx."""
    if shutil.which("cdk"):
        return ["cdk"]
    if shutil.which("npx"):
        return ["npx", "--yes", "aws-cdk@2"]
    raise NotReady("the CDK's command line is missing: npm install -g aws-cdk@2")


def _stage(stage: str) -> list[str]:
    return ["-c", f"stage={stage}"] if stage else []


def _written(key: str) -> Any:
    return json.loads((ROOT / "cdk.json").read_text())["context"].get(key)


def _check_account(session: Any) -> list[str]:
    """Credentials, region, bootstrap and quota, in the order in which one fails without the other.
    The quota becomes context."""
    region = session.region_name
    if not region:
        raise NotReady("no region is chosen: export AWS_REGION=eu-central-1, or another one")
    try:
        account = session.client("sts").get_caller_identity()["Account"]
        print(f"account {account}, region {region}")
        _check_bootstrap(session, account, region)
        limits = session.client("lambda").get_account_settings()["AccountLimit"]
    except NoCredentialsError as error:
        raise NotReady(
            "there are no AWS credentials: aws sso login, aws configure, or export "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except BotoCoreError as error:
        raise NotReady(f"AWS cannot be reached: {error}") from error
    except ClientError as error:
        raise NotReady(f"AWS refuses: {error}: see docs/deploy-policy.json") from error
    quota = int(limits["ConcurrentExecutions"])
    print(f"{quota} concurrent executions{_advice(quota)}")
    return ["-c", f"lambda_quota={quota}"]


def _check_bootstrap(session: Any, account: str, region: str) -> None:
    try:
        value = session.client("ssm").get_parameter(Name=BOOTSTRAP)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        raise NotReady(
            f"the account is not bootstrapped: cdk bootstrap aws://{account}/{region}"
        ) from None
    if int(value) < LEAST_BOOTSTRAP:
        raise NotReady(
            f"the bootstrap stack is of version {value}, {LEAST_BOOTSTRAP} is needed: "
            f"cdk bootstrap aws://{account}/{region}"
        )


def _advice(quota: int) -> str:
    if quota >= 200:
        return ""
    return ": ask for more under Service Quotas, AWS Lambda, Concurrent executions (L-B99A9384)"


def _run(command: list[str]) -> int:
    """cdk.json's `python` is the one that runs this, which has what app.py imports."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
