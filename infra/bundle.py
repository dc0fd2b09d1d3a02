"""The bundle that every Lambda runs: `functions/` beside its pinned wheels, trimmed and compiled.

Made once for each content, and the same bytes whenever it is made.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from aws_cdk import aws_lambda as lambda_

Target = Literal["aws", "host"]

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, seen 2026-11-21
LAMBDA_MINORS = range(11, 15)
NEWEST_KNOWN_GOOD = 13
# What botocore calls by itself: the host of an upload form is that of CreateBucket, and an answer
# from another region is looked into with HeadBucket.
BOTOCORES_OWN = {
    "dynamodb": ("DescribeEndpoints",),
    "s3": ("CreateBucket", "CreateSession", "HeadBucket"),
}
# The services that `functions.settings.aws` has clients for, and what is called of them: botocore
# brings the data of 400, and reads that of a service whole for each client.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "dynamodb": ("BatchGetItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"),
    "events": ("PutEvents",),
    "s3": (
        *("AbortMultipartUpload", "CompleteMultipartUpload", "CreateMultipartUpload"),
        *("DeleteObject", "GetObject", "HeadObject", "ListMultipartUploads", "ListObjectVersions"),
        *("ListObjectsV2", "ListParts", "PutObject", "PutObjectTagging", "UploadPart"),
    ),
    "secretsmanager": ("GetSecretValue",),
    "sns": ("Publish",),
    "sqs": ("ChangeMessageVisibility", "GetQueueAttributes", "SendMessage", "SendMessageBatch"),
    "stepfunctions": (
        *("DescribeExecution", "SendTaskFailure", "SendTaskSuccess", "StartExecution"),
    ),
}
SERVICES = frozenset(OPERATIONS)
# As their hosts are called; the security token service's is looked up by botocore itself.
ENDPOINTS = SERVICES - {"stepfunctions"} | {"states", "sts"}
# https://www.amazontrust.com/repository/
ROOTS_OF_AMAZON = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
)
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
PYAV = "requirements-pyav.txt"
# Part of the name of what is kept: to be counted up when trimming or compiling changes.
_RECIPE = "6"


def lambda_minor() -> int:
    """3.x of the Lambdas: the builder's own where Lambda has it, so that its byte code is right."""
    return sys.version_info[1] if can_compile("aws") else NEWEST_KNOWN_GOOD


def can_compile(target: Target) -> bool:
    """Byte code is only read by the minor version that wrote it. The embedded run is this one."""
    return target == "host" or sys.version_info[1] in LAMBDA_MINORS


def code_of_the_bundle(target: Target, *, with_pyav: bool = False) -> lambda_.Code:
    """The asset. Its hash is that of what lies in it and nothing else, so an unchanged bundle is
    not uploaded again. `with_pyav`: 95 MB more, for the two functions that decode and join."""
    directory = bundle(target, with_pyav=with_pyav)
    return lambda_.Code.from_asset(str(directory), asset_hash=hash_of(directory))


def bundle(target: Target, *, with_pyav: bool = False) -> Path:
    """The directory every Lambda gets, or the one of those with PyAV."""
    wheels = [_wheels(target), *([_wheels(target, PYAV)] if with_pyav else [])]
    kind = f"{target}-pyav" if with_pyav else target
    with tempfile.TemporaryDirectory(dir=BUILD) as making:
        new = Path(making) / "bundle"
        # Copied before it is hashed: a file that is saved meanwhile must not end under another
        # content's name.
        ignored = shutil.ignore_patterns(*_NOISE)
        shutil.copytree(ROOT / "functions", new / "functions", ignore=ignored)
        key = "-".join(one.name.rpartition("-")[2] for one in wheels)
        made = BUILD / f"bundle-{kind}-{key}-{hash_of(new)[:12]}"
        if not made.exists():
            _compile(new, target)
            for one in wheels:
                shutil.copytree(one, new, copy_function=os.link, dirs_exist_ok=True)
            _put(new, made)
            _forget_older(made, f"bundle-{kind}-[0-9a-f]*")
    return made


def _wheels(target: Target, name: str = "requirements.txt") -> Path:
    """The wheels of such a file in functions/, installed, trimmed and compiled; the only step that
    needs a network, and only once."""
    requirements = ROOT / "functions" / name
    minor = sys.version_info[1] if target == "host" else lambda_minor()
    platform = sysconfig.get_platform() if target == "host" else "lambda"
    words = f"{platform} {minor} {can_compile(target)} {_RECIPE}"
    key = hashlib.sha256(requirements.read_bytes() + words.encode()).hexdigest()[:12]
    made = BUILD / f"wheels-{target}-{key}"
    if made.exists():
        return made
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as making:
        new, kept = Path(making) / "wheels", Path(making) / "kept"
        _install(requirements, new, target)
        shutil.copytree(new, kept, ignore=shutil.ignore_patterns(*_NOISE))
        if name != PYAV:
            _trim_botocore(kept)
            _write_roots(kept)
        _compile(kept, target)
        _put(kept, made)
    return made


def _install(requirements: Path, into: Path, target: Target) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-compile", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    command += ["--target", str(into), "--requirement", str(requirements)]
    if target == "aws":
        # The newest that the glibc 2.34 of Lambda's Amazon Linux 2023 runs; PyAV has no older one.
        command += ["--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64"]
        command += ["--implementation", "cp"]
        command += ["--python-version", f"3.{lambda_minor()}"]
    # pip's output goes to stderr: stdout is for what was asked for.
    subprocess.run(command, check=True, stdout=sys.stderr)


def _trim_botocore(directory: Path) -> None:
    """Without the data of services that nothing here calls, 26 MB of 27, and of the rest without
    what only a person reads: it is parsed for every client."""
    data = directory / "botocore" / "data"
    for place in data.iterdir():
        if place.is_dir() and place.name not in SERVICES:
            shutil.rmtree(place)
    for packed in data.rglob("*.json.gz"):
        described = json.loads(gzip.decompress(packed.read_bytes()))
        if packed.name == "service-2.json.gz":
            _keep_what_is_called(described, packed.relative_to(data).parts[0])
        _write_json(packed.with_suffix(""), _undocumented(described))
        packed.unlink()
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        kept = partition["services"].items()
        partition["services"] = {name: one for name, one in kept if name in ENDPOINTS}
    _write_json(data / "endpoints.json", endpoints)


def _keep_what_is_called(model: dict[str, dict[str, object]], service: str) -> None:
    """Of a service its operations in OPERATIONS, and the shapes that these refer to."""
    called = {*OPERATIONS[service], *BOTOCORES_OWN.get(service, ())}
    operations = {name: one for name, one in model["operations"].items() if name in called}
    known: set[str] = set()
    wanted = set(_shapes_of(operations))
    while wanted:
        known |= wanted
        wanted = {one for name in wanted for one in _shapes_of(model["shapes"][name])} - known
    shapes = {name: one for name, one in model["shapes"].items() if name in known}
    model |= {"operations": operations, "shapes": shapes}


def _shapes_of(described: object) -> Iterator[str]:
    """The names of the shapes that a part of a model refers to."""
    if isinstance(described, list):
        for one in described:
            yield from _shapes_of(one)
    if isinstance(described, dict):
        if isinstance(name := described.get("shape"), str):
            yield name
        yield from _shapes_of(list(described.values()))


def _undocumented(described: Any) -> Any:
    """A service's model with empty documentation: some of it botocore wants to be there. A member
    of that name is an object, and stays."""
    if isinstance(described, list):
        return [_undocumented(one) for one in described]
    if not isinstance(described, dict):
        return described
    return {
        name: "" if name == "documentation" and isinstance(value, str) else _undocumented(value)
        for name, value in described.items()
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))


def _write_roots(directory: Path) -> None:
    """Amazon's own root certificates, out of certifi's: see functions.settings.ca_bundle."""
    store = (directory / "certifi" / "cacert.pem").read_text()
    found = []
    for name in ROOTS_OF_AMAZON:
        pattern = rf'# Label: "{re.escape(name)}"\n.*?(-----BEGIN.*?END CERTIFICATE-----\n)'
        certificate = re.search(pattern, store, re.DOTALL)
        if certificate is None:
            raise RuntimeError(f"certifi has no certificate {name!r} any more: see infra/bundle.py")
        found.append(f"# {name}\n{certificate[1]}")
    (directory / "amazon-roots.pem").write_text("\n".join(found))


# Byte code that is believed without a look at its source's time or content, which a zip and an
# upload change. In a process of its own, since byte code depends on the seed of hashes.
_COMPILER = """
import compileall, py_compile, sys
compileall.compile_dir(
    sys.argv[1], quiet=2, force=True, maxlevels=20, stripdir=sys.argv[1], prependdir="/var/task",
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
"""


def _compile(directory: Path, target: Target) -> None:
    """A file that does not compile (a wheel may hold one for another Python) stays as it is."""
    if not can_compile(target):
        minors = f"3.{LAMBDA_MINORS[0]} to 3.{LAMBDA_MINORS[-1]}"
        print(
            f"the bundle is not compiled: build it with Python {minors} for faster cold starts",
            file=sys.stderr,
        )
        return
    # With a prefix of the builder's own, the byte code would lie elsewhere and not be shipped.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": ""}
    command = [sys.executable, "-c", _COMPILER, str(directory)]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)


def _put(new: Path, place: Path) -> None:
    """Move a finished directory into its place; if another process was faster, its result is
    as good."""
    try:
        new.rename(place)
    except OSError:
        if not place.exists():
            raise


def _forget_older(newest: Path, pattern: str, keep: int = 4) -> None:
    """Remove what earlier sources left, but for the last few: another synthesis may be reading one
    of them."""
    others = sorted(
        (one for one in BUILD.glob(pattern) if one != newest), key=lambda one: one.stat().st_mtime
    )
    for old in others[: -keep or None]:
        shutil.rmtree(old, ignore_errors=True)


def hash_of(directory: Path) -> str:
    """A hash of names and contents; times, owners and the order on the disk do not matter."""
    digest = hashlib.sha256()
    for path in sorted(_shipped(directory)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(directory).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _shipped(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())
