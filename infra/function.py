"""A Lambda with the house defaults, and the one bundle that all of them run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.context import Context

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"

# Never shipped: what only installing needed, scripts with this machine's path in their first line,
# and tests.
_NOISE = (
    "__pycache__",
    "*.pyc",
    "RECORD",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "bin",
    "tests",
)


class Function(lambda_.Function):
    """One module of the bundle: its own role, its own log group, arm64, traced."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        code: lambda_.Code,
        context: Context,
        timeout: Duration,
        memory: int,
        environment: Mapping[str, str],
        **more: Any,
    ) -> None:
        """`name` is the module; `memory` in MiB, and the share of a CPU grows with it (1,769 are
        one)."""
        title = name.capitalize()
        # A role of our own: the CDK's default one brings AWS's managed policy, which may write
        # every log there is.
        role = iam.Role(
            scope, f"{title}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")
        )
        log_group = logs.LogGroup(
            scope,
            f"{title}Logs",
            retention=log_retention(context.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        log_group.grant_write(role)
        super().__init__(
            scope,
            f"{title}Function",
            code=code,
            handler=f"functions.handlers.{name}.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            timeout=timeout,
            memory_size=memory,
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={
                **{f"TALKDROP_{key.upper()}": value for key, value in environment.items()},
                "POWERTOOLS_SERVICE_NAME": name,
                # so that one stage does not ring another's alarm
                "POWERTOOLS_METRICS_NAMESPACE": context.stack_name,
                "POWERTOOLS_LOG_LEVEL": "INFO",
            },
            **more,
        )

    def may(self, *actions: str, on: Sequence[str]) -> None:
        """Grant exactly these actions on exactly these ARNs."""
        self.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(on)))


def log_retention(days: int) -> logs.RetentionDays:
    names = {
        1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH",
        60: "TWO_MONTHS", 90: "THREE_MONTHS", 120: "FOUR_MONTHS", 150: "FIVE_MONTHS", 180: "SIX_MONTHS",
        365: "ONE_YEAR", 400: "THIRTEEN_MONTHS", 545: "EIGHTEEN_MONTHS", 731: "TWO_YEARS", 1827: "FIVE_YEARS",
        3653: "TEN_YEARS",
    }  # fmt: skip
    return logs.RetentionDays[names[days]]


def code_of_the_bundle(target: Literal["aws", "host"]) -> lambda_.Code:
    """The asset. Its hash is that of what lies in it and nothing else, so an unchanged bundle is
    not uploaded again."""
    directory = bundle(target)
    return lambda_.Code.from_asset(str(directory), asset_hash=hash_of(directory))


def bundle(target: Literal["aws", "host"]) -> Path:
    """The directory every Lambda gets: the pinned wheels, with `functions/` beside them. Made once
    for each content."""
    wheels = _wheels(target)
    with tempfile.TemporaryDirectory(dir=BUILD) as making:
        new = Path(making) / "bundle"
        # Copied before it is hashed: a file that is saved meanwhile must not end under another
        # content's name.
        shutil.copytree(
            ROOT / "functions", new / "functions", ignore=shutil.ignore_patterns(*_NOISE)
        )
        made = BUILD / f"bundle-{wheels.name.removeprefix('wheels-')}-{hash_of(new)[:12]}"
        if not made.exists():
            shutil.copytree(wheels, new, copy_function=os.link, dirs_exist_ok=True)
            _put(new, made)
            _forget_older(made, f"bundle-{target}-*")
    return made


def _forget_older(newest: Path, pattern: str, keep: int = 4) -> None:
    """Remove what earlier sources left, but for the last few: another synthesis may be reading one
    of them."""
    others = sorted(
        (one for one in BUILD.glob(pattern) if one != newest), key=lambda one: one.stat().st_mtime
    )
    for old in others[: -keep or None]:
        shutil.rmtree(old, ignore_errors=True)


def _wheels(target: Literal["aws", "host"]) -> Path:
    """The wheels of functions/requirements.txt, installed; the only step that needs a network, and
    only once."""
    requirements = ROOT / "functions" / "requirements.txt"
    platform = (
        f"{sysconfig.get_platform()}-{sys.version_info[0]}.{sys.version_info[1]}"
        if target == "host"
        else ""
    )
    key = hashlib.sha256(requirements.read_bytes() + platform.encode()).hexdigest()[:12]
    made = BUILD / f"wheels-{target}-{key}"
    if made.exists():
        return made
    BUILD.mkdir(exist_ok=True)
    lambdas = [
        "--platform",
        "manylinux2014_aarch64",
        "--python-version",
        "3.13",
        "--implementation",
        "cp",
    ]
    with tempfile.TemporaryDirectory(dir=BUILD) as making:
        new = Path(making) / "wheels"
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
            "--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(new),
            *(lambdas if target == "aws" else []), "--requirement", str(requirements),
        ]  # fmt: skip
        # pip's own words go to stderr: the CDK's command line reads nothing from us on stdout,
        # people do.
        subprocess.run(command, check=True, stdout=sys.stderr)
        kept = Path(making) / "kept"
        shutil.copytree(new, kept, ignore=shutil.ignore_patterns(*_NOISE))
        _put(kept, made)
    return made


def _put(new: Path, place: Path) -> None:
    """Move a finished directory into its place; if another process was faster, its work is as
    good."""
    try:
        new.rename(place)
    except OSError:
        if not place.exists():
            raise


def hash_of(directory: Path) -> str:
    """A hash of names and contents, deaf to times, owners and the order in which a disk lists
    them."""
    digest = hashlib.sha256()
    for path in sorted(_shipped(directory)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(directory).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _shipped(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
            yield path
