"""Schemathesis against the API of the embedded run, by its own description: no server error, no
answer that breaks its schema, whatever is asked.

    python -m bench.fuzz             100 cases a route and phase
    python -m bench.fuzz 2000        as many as a night takes

Schemathesis lives in an environment of its own (build/fuzz), since it wants other versions than we
do. What is left out: `positive_data_acceptance`, for what no schema can say (a key that is not in
the inbox); `unsupported_method`, which API Gateway answers with 404 on AWS, too; `ignored_auth`,
since the emulator lets any bearer token pass (tests/journey/test_authorisation.py has the matrix).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from local import environment
from local.aws.cloud import KEY, REGION
from local.screen import Screen

ROOT = Path(__file__).parents[1]
VENV = ROOT / "build" / "fuzz"
PINNED = "schemathesis==4.32.5"
SAMPLES = ROOT / "local" / "samples"
LEFT_OUT = "positive_data_acceptance,unsupported_method,ignored_auth"
# One task, a voice that waits for its portrait, and what the description's example names.
INBOX = {
    "fuzz/portrait.png": "portrait.png",
    "fuzz/voice.mp3": "voice.mp3",
    "waiting/voice.mp3": "voice.mp3",
    "_talkdrop/uploads/episode-12/ada.png": "portrait.png",
    "_talkdrop/uploads/episode-12/01.mp3": "voice.mp3",
}

HOOKS = """
import os

import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, REGION = os.environ["FUZZ_KEY"], os.environ["FUZZ_REGION"]


class Sign(requests.auth.AuthBase):
    def __call__(self, made):
        request = AWSRequest(made.method, made.url, data=made.body or b"")
        SigV4Auth(Credentials(KEY, KEY), "execute-api", REGION).add_auth(request)
        made.headers.update(dict(request.headers.items()))
        return made


schemathesis.auth.set_from_requests(Sign())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tool = install()
    with tempfile.TemporaryDirectory() as directory:
        running = environment.start(Screen(), state=Path(directory))
        try:
            for name, sample in INBOX.items():
                running.drop(name, (SAMPLES / sample).read_bytes())
            return run(tool, running.stack.outputs["ApiUrl"], given.cases, given.seed)
        finally:
            running.stop()


def install() -> Path:
    """Schemathesis, installed once."""
    tool = VENV / "bin" / "st"
    if not tool.exists():
        venv.create(VENV, clear=True, with_pip=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, PINNED, "botocore"], check=True)
    return tool


def run(tool: Path, url: str, cases: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "fuzz_hooks.py").write_text(HOOKS)
        variables = {
            "SCHEMATHESIS_HOOKS": "fuzz_hooks", "FUZZ_KEY": KEY, "FUZZ_REGION": REGION,
            "PYTHONPATH": directory,
        }  # fmt: skip
        description = str(ROOT / "functions" / "api" / "openapi.json")
        command = [
            *(str(tool), "run", description, "--url", url, "--max-examples", str(cases)),
            *("--seed", str(seed), "--exclude-checks", LEFT_OUT, "--continue-on-failure"),
        ]
        done = subprocess.run(command, cwd=directory, env={**os.environ, **variables}, check=False)
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
