"""The emulated AWS: one child process on 127.0.0.1 that knows nothing of a real account, and is
stopped for certain.

`start(state)` gets a directory of its own for objects, log and unpacked code; `Cloud.client("s3")`
talks to it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.aws import runtime

ROOT = Path(__file__).parents[2]

REGION = "eu-central-1"
ACCOUNT = "000000000000"
KEY = "test"  # the emulator's root key; its secret is the same word
START_SECONDS = 60
STOP_SECONDS = 10


class CloudError(Exception):
    """The emulated AWS did not come up; the message says why and where its log lies."""


@dataclass(frozen=True)
class Cloud:
    """A running emulator. `stock` is one without our patches: only the tests of the patches want
    it."""

    url: str
    state: Path
    process: subprocess.Popen[bytes]

    def client(self, service: str) -> Any:
        """A boto3 client that reaches this emulator and can reach nothing else."""
        return _client(service, self.url)

    @property
    def log(self) -> Path:
        return self.state / "emulator.log"

    def stop(self) -> None:
        """End the emulator and every Lambda process it started. Safe to call twice."""
        stop_group(self.process)
        atexit.unregister(self.stop)

    def lambda_processes(self) -> list[int]:
        """The sandboxes: those processes that run in our unpacked bundle. None but on Linux, whose
        /proc tells it."""
        return [
            int(one.name)
            for one in Path("/proc").glob("[0-9]*")
            if _place(one).startswith(f"{self.state}/")
        ]

    @contextmanager
    def outage(self, service: str) -> Iterator[None]:
        """Within it each call of a function to this service fails, every other one after it had its
        effect."""
        marker = self.state / "state" / "outage"
        marker.parent.mkdir(exist_ok=True)
        marker.write_text(service)
        try:
            yield
        finally:
            marker.unlink(missing_ok=True)

    def resident_mb(self) -> tuple[float, int]:
        """Memory in RAM of the emulator and its Lambda processes, in MB, and how many processes
        that is."""
        return resident_mb(self.process.pid)


_CLIENT = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    s3={"addressing_style": "path"},
    connect_timeout=5,
    read_timeout=120,
    max_pool_connections=50,
)


def start(
    state: Path, *, processes: int = 3, stock: bool = False, port: int = 0, keep: bool = False
) -> Cloud:
    """Start an emulator on this port, or a free one. `processes`: how many may run one Lambda
    function at a time; `keep`: what `state` holds is there again, and is written at the end."""
    state.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    require_free(port)
    url = f"http://127.0.0.1:{port}"
    module = "ministack" if stock else "local.aws.emulator"
    with (state / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=_environment(state, port, processes) | ({"PERSIST_STATE": "1"} if keep else {}),
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # its own process group: one signal reaches every Lambda process too
            start_new_session=True,
        )
    cloud = Cloud(url, state, process)
    atexit.register(cloud.stop)
    _wait_until_healthy(cloud)
    return cloud


def forget_aws() -> None:
    """Take every trace of a real AWS account, and a proxy's claim to this machine, out of this
    process' environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(_NO_AWS)
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


_NO_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@cache
def _client(service: str, url: str) -> Any:
    """Made once: making one reads megabytes of service models, and a client may be used by any
    number of threads."""
    session: Any = boto3.session.Session(
        aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION
    )
    return session.client(service, endpoint_url=url, config=_CLIENT)


def _environment(state: Path, port: int, processes: int) -> dict[str, str]:
    """What the emulator sees, and so every Lambda: nothing that was not written here."""
    for name in ("tmp", "home"):
        (state / name).mkdir(exist_ok=True)
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(state / "home"),
        "TMPDIR": str(state / "tmp"),
        **_NO_AWS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",  # its default is every interface
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "AUTH": "true",  # each function may do what its role grants, and no more
        "S3_PERSIST": "1",  # objects on disk and not in memory
        "S3_DATA_DIR": str(state / "s3"),
        "STATE_DIR": str(state / "state"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "LOG_LEVEL": "INFO",
        "TALKDROP_LAMBDA_PROCESSES": str(processes),
        **runtime.environment(state / "runtime"),
    }


def _wait_until_healthy(cloud: Cloud) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if cloud.process.poll() is not None:
            raise CloudError(f"the emulated AWS ended at once: {tail(cloud.log)}")
        try:
            with urllib.request.urlopen(f"{cloud.url}/_ministack/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    cloud.stop()
    raise CloudError(
        f"the emulated AWS did not answer within {START_SECONDS} s; its log: {cloud.log}"
    )


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own group, politely, then for certain; then whatever is left of
    its group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _place(process: Path) -> str:
    """Where a process runs."""
    try:
        return str((process / "cwd").readlink())
    except OSError:  # another process's, or it ended while we looked
        return ""


def discard(state: Path) -> None:
    """Remove a state directory; what is already gone is fine."""
    shutil.rmtree(state, ignore_errors=True)


def require_free(port: int) -> None:
    """Raises CloudError if another process listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CloudError(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): is another one up? "
                "Else choose one with --port"
            ) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def resident_mb(pid: int) -> tuple[float, int]:
    """Memory in RAM of a process and all that descend from it, in MB, and their number; nothing but
    on Linux."""
    if not Path("/proc/self/status").exists():
        return 0.0, 0
    children: dict[int, list[int]] = defaultdict(list)
    memory: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(
                line.split(":", 1) for line in status.read_text().splitlines() if ":" in line
            )
        except OSError:  # it ended while we looked
            continue
        one = int(status.parent.name)
        children[int(fields["PPid"])].append(one)
        memory[one] = int(fields.get("VmRSS", "0 kB").split()[0])
    family = [pid]
    for member in family:
        family.extend(children[member])
    return sum(memory.get(member, 0) for member in family) / 1024, len(family)
