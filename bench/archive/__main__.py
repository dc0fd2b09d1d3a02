"""`make bench-archive`: what it costs to bring a film from its source into the archive, against the
other ways.

Every round runs each subject once, in turn, so that a machine that drifts drifts under all of them;
medians are shown. Not a test: nothing fails. `--sizes 1,10,200` in MB, `--rounds 5`; `--memory
512,1769`: what a Lambda of that size does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import boto3

from functions.tasks import attributes
from local.aws import cloud
from tests.archive.internet import Authority

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RELAYS = ("archive", "put_object", "upload_fileobj", "C")
LINES = ("fetch", "http.client", "httpx", "curl", "checksum")
MOST_IN_MEMORY_MB = 1000  # put_object needs twice the film


@dataclass
class Line:
    """Where the source and the S3 endpoint are, and what a subject must be told to reach them."""

    source: int
    endpoint: str
    environment: dict[str, str]

    @property
    def sink(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,10,200,1000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--emulator", action="store_true", help="also into the embedded cloud's S3")
    parser.add_argument("--memory", default="", help="Lambda memory settings in MB, for the curve")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        line = _line(stack, folder)
        c_relay = _compile(folder)
        if arguments.memory:
            _curve(
                [int(memory) for memory in arguments.memory.split(",")],
                sizes,
                line,
                arguments.rounds,
            )
            return
        for size in sizes:
            rounds = arguments.rounds if size < 1000 else min(arguments.rounds, 3)
            subjects = [
                name for name in RELAYS if name != "put_object" or size <= MOST_IN_MEMORY_MB
            ]
            costs = _table(f"{size} MB into the sink", subjects, line, size, rounds, c_relay)
            costs |= _table(
                f"{size} MB, the line alone and the checksum alone",
                list(LINES),
                line,
                size,
                rounds,
                c_relay,
            )
            _ratios(costs)
        if arguments.emulator:
            line = _emulator(stack, folder, line)
            for size in [size for size in sizes if size <= MOST_IN_MEMORY_MB]:
                _table(
                    f"{size} MB into the emulator",
                    ["archive", "upload_fileobj"],
                    line,
                    size,
                    arguments.rounds,
                    c_relay,
                )


def _table(
    title: str, subjects: list[str], line: Line, size: int, rounds: int, c_relay: Path | None
) -> dict[str, dict[str, float]]:
    """Prints the medians, and gives them back by subject."""
    subjects = [name for name in subjects if name != "C" or c_relay]
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name in subjects:
            cost = _run(name, line, size * 1_000_000, number, c_relay)
            if number:  # the first round warms caches
                costs[name].append(cost)
    print(
        f"\n### {title} ({rounds} rounds)\n\n| | MB/s | s | CPU s/GB | peak MB | of it before "
        "|\n|---|---|---|---|---|---|"
    )
    middles = {}
    for name, rounds_of in costs.items():
        middles[name] = middle = {
            what: statistics.median(cost[what] for cost in rounds_of) for what in rounds_of[0]
        }
        row = [
            f"{size / middle['wall']:.0f}",
            f"{middle['wall']:.3f}",
            f"{middle['cpu'] * 1000 / size:.2f}",
        ]
        memory = (
            [f"{middle['peak_mb']:.1f}", f"{middle['base_mb']:.1f}"]
            if middle["base_mb"]
            else ["", ""]
        )
        print(f"| {name} | {' | '.join(row + memory)} |", flush=True)
    return middles


def _ratios(costs: dict[str, dict[str, float]]) -> None:
    """`archive` against the others: above 1 it is faster, or costs more of the processor."""
    ours, limit = costs["archive"], max(costs["curl"]["wall"], costs["checksum"]["wall"])
    print(
        f"\n`archive` has {limit / ours['wall']:.2f} of the speed of the slower of line and "
        "checksum",
        end="",
    )
    for name in RELAYS[1:]:
        if other := costs.get(name):
            faster, costs_more = other["wall"] / ours["wall"], ours["cpu"] / other["cpu"]
            print(
                f"; against {name} {faster:.2f} of the speed and {costs_more:.2f} of the CPU",
                end="",
            )
    print(flush=True)


def _curve(memories: list[int], sizes: list[int], line: Line, rounds: int) -> None:
    """Lambda gives a share of one processor in proportion to memory, a whole one at 1,769 MB: here
    the process is stopped for the rest of every 20 ms. The start of the process is not counted."""
    print(
        "| memory MB | "
        + " | ".join(f"{size} MB: s | GB-s" for size in sizes)
        + " |\n|---|"
        + "---|---|" * len(sizes)
    )
    for memory in memories:
        row = []
        for size in sizes:
            url, walls = f"https://video.example.com/{size * 1_000_000}.mp4", []
            for number in range(rounds):
                _open_task(line, url, f"{memory}-{size}-{number}")
                words = [sys.executable, "-m", "bench.archive.subjects", "archive", url]
                child = subprocess.Popen(
                    words,
                    cwd=ROOT,
                    env={**os.environ, **line.environment},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                _throttle(child, min(memory / 1769, 1.0))
                assert child.stdout
                walls.append(json.loads(child.stdout.read())["wall"])
            wall = statistics.median(walls)
            row.append(f"{wall:.2f} | {wall * memory / 1024:.2f}")
        print(f"| {memory} | {' | '.join(row)} |", flush=True)


def _throttle(child: subprocess.Popen[str], share: float) -> None:
    while child.poll() is None:
        child.send_signal(signal.SIGCONT)
        time.sleep(0.02 * share)
        if share < 1:
            child.send_signal(signal.SIGSTOP)
            time.sleep(0.02 * (1 - share))


def _run(name: str, line: Line, size: int, number: int, c_relay: Path | None) -> dict[str, float]:
    url = f"https://video.example.com/{size}.mp4"
    if name == "C":
        return _by_the_system([str(c_relay), str(line.source), str(line.sink), str(size)], {})
    if name == "curl":
        there = ["--connect-to", f"video.example.com:443:127.0.0.1:{line.source}"]
        return _by_the_system(
            [
                "curl",
                "-sS",
                "-o",
                os.devnull,
                "--cacert",
                line.environment["SSL_CERT_FILE"],
                *there,
                url,
            ],
            {},
        )
    if name == "archive":
        _open_task(line, url, f"{size}-{number}")
    words = [sys.executable, "-m", "bench.archive.subjects", name, url]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **line.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


def _by_the_system(words: list[str], environment: dict[str, str]) -> dict[str, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu, "peak_mb": 0.0, "base_mb": 0.0}


def _line(stack: ExitStack, folder: Path) -> Line:
    authority = Authority(folder)
    ports = {}
    for role, name in (("source", "video.example.com"), ("sink", "127.0.0.1")):
        authority.context(name)
        words = [sys.executable, "-m", "bench.archive.servers", role, str(folder / f"{name}.pem")]
        server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout
        ports[role] = int(server.stdout.readline())
    environment = {
        "BENCH_SOURCE_PORT": str(ports["source"]),
        "SSL_CERT_FILE": str(authority.path),
        "AWS_CA_BUNDLE": str(authority.path),
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{ports['sink']}",
        "AWS_ACCESS_KEY_ID": cloud.KEY,
        "AWS_SECRET_ACCESS_KEY": cloud.KEY,
        "AWS_REGION": cloud.REGION,
        "AWS_DEFAULT_REGION": cloud.REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TALKDROP_TABLE": "tasks",
        "TALKDROP_ARCHIVE": "bench",
        "POWERTOOLS_LOG_LEVEL": "WARNING",
    }
    return Line(ports["source"], environment["AWS_ENDPOINT_URL"], environment)


def _emulator(stack: ExitStack, folder: Path, line: Line) -> Line:
    running = cloud.start(folder / "cloud")
    stack.callback(running.stop)
    running.client("dynamodb").create_table(
        TableName="tasks",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3 = running.client("s3")
    s3.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    return Line(line.source, running.url, {**line.environment, "AWS_ENDPOINT_URL": running.url})


def _open_task(line: Line, url: str, name: str) -> None:
    task = {
        "pk": "task#bench", "task_id": "bench", "status": "ARCHIVING", "attempt": 1,
        "created_at": "2026-11-21T05:00:00Z",
        "provider": "kie", "model": "avatar", "job_id": "1", "stem": name, "video_url": url,
    }  # fmt: skip
    session = boto3.session.Session(
        aws_access_key_id=cloud.KEY, aws_secret_access_key=cloud.KEY, region_name=cloud.REGION
    )
    dynamodb = session.client(
        "dynamodb", endpoint_url=line.endpoint, verify=line.environment["AWS_CA_BUNDLE"]
    )
    dynamodb.put_item(
        TableName="tasks", Item={key: attributes.typed(value) for key, value in task.items()}
    )
    if line.endpoint.startswith("http:"):  # the emulator keeps the manifest of the last round
        s3 = session.client("s3", endpoint_url=line.endpoint)
        s3.delete_object(Bucket="bench", Key="videos/2026/11/21/bench/manifest.json")


def _compile(folder: Path) -> Path | None:
    if not shutil.which("cc"):
        print("no C compiler: the C relay is left out")
        return None
    relay = folder / "relay"
    done = subprocess.run(
        ["cc", "-O2", "-o", relay, HERE / "relay.c", "-lssl", "-lcrypto"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        print("no OpenSSL headers: the C relay is left out")
        return None
    return relay


if __name__ == "__main__":
    main()
