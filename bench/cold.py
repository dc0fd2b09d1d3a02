"""Each handler from a cold start and warm, as the bundle ships it, beside naive peers.

    .venv/bin/python -m bench.cold [--rounds 5] [--warm 20] [--no-instructions] [NAME …]

Each run is a process of its own that sees the bundle (or, for the naive peers, boto3 as installed)
and talks to canned endpoints over TLS on this machine: bench/lambdas. The subjects take turns, so
that a machine that drifts drifts under all of them; medians are shown, and the spread. Where
valgrind is there, instructions are counted too: they do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import certifi

import app  # noqa: F401 - finds Node for the CDK, which infra needs
from bench.lambdas import scenes
from infra.bundle import bundle
from tests.archive.internet import Authority

ROOT = Path(__file__).parent.parent
LAMBDAS = Path(__file__).parent / "lambdas"
INSTALLED = Path(boto3.__file__).parents[1]
# Once a long voice, two of them in a bundle of their own: their start is not what is waited for.
NOT_MEASURED = {"__init__", "cut", "gather", "join"}
HANDLERS = sorted(
    path.stem
    for path in (ROOT / "functions" / "handlers").glob("*.py")
    if path.stem not in NOT_MEASURED
)
NAIVE = {"naive submit": "submit", "naive callback": "callback"}
PEERS = {peer: name for name, peer in NAIVE.items()}
WARM_COUNTED = 5  # invocations between the two runs whose difference is a warm one's instructions

Costs = Mapping[str, float]


@dataclass(frozen=True)
class Bench:
    """What a run needs: the folders of ours and of the naive peers, their roots, the endpoints."""

    bundle: Path
    folder: Path
    origin: str

    def command(self, name: str, invocations: int) -> list[str]:
        if name in NAIVE:
            folders, module = f"{LAMBDAS / 'naive'}:{INSTALLED}", NAIVE[name]
        else:
            folders, module = str(self.bundle), f"functions.handlers.{name}"
        event = str(self.folder / f"{NAIVE.get(name, name)}.json")
        return [
            sys.executable,
            *("-I", "-S"),  # nothing of the virtual environment
            str(LAMBDAS / "child.py"),
            folders,
            module,
            event,
            str(invocations),
        ]

    def environment(self, name: str) -> dict[str, str]:
        """A Lambda's, as far as it matters. The naive peers check AWS's certificates against all
        roots, as boto3 does unless it is given others."""
        values = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        values |= {
            "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ENDPOINT_URL": self.origin, "SSL_CERT_FILE": str(self.folder / "roots.pem"),
            "POWERTOOLS_METRICS_NAMESPACE": "Talkdrop", "POWERTOOLS_SERVICE_NAME": "bench",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        if name in NAIVE:
            values["AWS_CA_BUNDLE"] = str(self.folder / "roots.pem")
        return values | scenes.settings(self.origin)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cold", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="handlers; all without one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=20, help="invocations of each process")
    parser.add_argument("--no-instructions", action="store_true")
    arguments = parser.parse_args()
    names = list(arguments.names) or [*HANDLERS, *NAIVE]
    counted = bool(shutil.which("valgrind")) and not arguments.no_instructions
    with benched() as bench:
        found = measure(bench, names, arguments.rounds, arguments.warm)
        for name, costs in found.items():
            if counted:
                costs |= instructions(bench, name)
    _show(found)


@contextmanager
def benched() -> Iterator[Bench]:
    """A copy of the bundle that trusts the endpoints' certificate too, and the endpoints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        authority.context("127.0.0.1")
        copy = folder / "bundle"
        shutil.copytree(bundle("host"), copy)
        for roots in (copy / "certifi" / "cacert.pem", copy / "amazon-roots.pem"):
            roots.write_text(roots.read_text() + authority.path.read_text())
        every = Path(certifi.where()).read_text() + authority.path.read_text()
        (folder / "roots.pem").write_text(every)
        words = [sys.executable, "-m", "bench.lambdas.endpoints", str(folder / "127.0.0.1.pem")]
        server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            origin = f"https://127.0.0.1:{int(server.stdout.readline())}"
            for handler in HANDLERS:
                event = json.dumps(scenes.event(handler, origin))
                (folder / f"{handler}.json").write_text(event)
            yield Bench(copy, folder, origin)
        finally:
            server.kill()
            server.wait()


def measure(
    bench: Bench, names: Sequence[str], rounds: int, invocations: int
) -> dict[str, dict[str, float]]:
    """Medians and spreads by name."""
    found: dict[str, list[Costs]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            costs = _run(bench, name, invocations)
            if number:  # the first round warms the disk's cache
                found[name].append(costs)
    return {name: _medians(costs) for name, costs in found.items()}


def _medians(costs: Sequence[Costs]) -> dict[str, float]:
    middles = {what: statistics.median(one[what] for one in costs) for what in costs[0]}
    for what in ("cold_cpu", "warm_cpu"):
        values = [one[what] for one in costs]
        middles[f"{what}_low"], middles[f"{what}_high"] = min(values), max(values)
    return middles


def _run(bench: Bench, name: str, invocations: int) -> Costs:
    done = subprocess.run(
        bench.command(name, invocations),
        env=bench.environment(name),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    costs = json.loads(done.stdout.splitlines()[-1])
    if "itemIdentifier" in costs.pop("answer"):
        raise SystemExit(f"{name} did not do its work:\n{done.stdout[-3000:]}")
    costs["cold_cpu"] = costs["import_cpu"] + costs["first_cpu"]
    costs["cold_wall"] = costs["import_wall"] + costs["first_wall"]
    return {what: float(value) for what, value in costs.items()}


def instructions(bench: Bench, name: str) -> dict[str, float]:
    """Of a process with one invocation, and of one more invocation."""
    cold = _instructions(bench, name, 1)
    more = _instructions(bench, name, 1 + WARM_COUNTED)
    return {"cold_ir": cold, "warm_ir": (more - cold) / WARM_COUNTED}


def _instructions(bench: Bench, name: str, invocations: int) -> float:
    profile = bench.folder / "callgrind"
    words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]
    subprocess.run(
        [*words, *bench.command(name, invocations)],
        env=bench.environment(name) | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        check=True,
    )
    (total,) = re.findall(r"^(?:summary|totals): (\d+)", profile.read_text(), re.MULTILINE)[:1]
    return float(total)


def _show(found: Mapping[str, Costs]) -> None:
    """Naive ÷ ours stands in the row of ours that has a naive peer: above 1, ours costs less."""
    print("| | cold CPU ms | cold s | peak MB | modules | G instructions | naive ÷ ours |")
    print("|---|---|---|---|---|---|---|")
    for name, costs in found.items():
        row = [
            f"{costs['cold_cpu']:.0f} ({costs['cold_cpu_low']:.0f}–{costs['cold_cpu_high']:.0f})",
            f"{costs['cold_wall'] / 1000:.2f}", f"{costs['peak_mb']:.1f}",
            f"{costs['modules']:.0f}", _giga(costs.get("cold_ir")), _ratios(found, name, "cold"),
        ]  # fmt: skip
        print(f"| cold {name} | {' | '.join(row)} |")
    print("\n| | warm CPU ms | warm ms | M instructions | naive ÷ ours |\n|---|---|---|---|---|")
    for name, costs in found.items():
        row = [
            f"{costs['warm_cpu']:.1f} ({costs['warm_cpu_low']:.1f}–{costs['warm_cpu_high']:.1f})",
            f"{costs['warm_wall']:.1f}",
            f"{costs['warm_ir'] / 1e6:.1f}" if "warm_ir" in costs else "",
            _ratios(found, name, "warm"),
        ]
        print(f"| warm {name} | {' | '.join(row)} |", flush=True)


def _giga(count: float | None) -> str:
    return "" if count is None else f"{count / 1e9:.2f}"


def _ratios(found: Mapping[str, Costs], name: str, kind: str) -> str:
    """By processor time, and by instructions."""
    peer = PEERS.get(name)
    if peer is None or peer not in found:
        return ""
    kinds = [one for one in (f"{kind}_cpu", f"{kind}_ir") if one in found[name]]
    return " · ".join(f"{found[peer][one] / found[name][one]:.2f}" for one in kinds)


if __name__ == "__main__":
    main()
