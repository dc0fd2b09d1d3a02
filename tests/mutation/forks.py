"""Work in forked processes: for its result, or many jobs at once with a deadline each."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MEMORY_BYTES = 8 << 30  # a mutant that never ends must not take the machine with it
# How long a job may take by the clock for each second of CPU that it may use: other work may hold
# it up, and so may what it waits for.
_WALL_FACTOR = 12.0
_START_SECONDS = 300.0  # by the clock, until it first notes something
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


Work = Callable[[], Any]


def in_a_fork(work: Work) -> Any:
    """What `work` returns in a process of its own, so that nothing it imports stays in this one."""
    (result,) = in_forks([work])
    return result


def in_forks(works: Iterable[Work]) -> list[Any]:
    """The same for several at once."""
    return [_result(pid, pipe) for pid, pipe in [_forked(work) for work in works]]


def _forked(work: Work) -> tuple[int, int]:
    read, write = os.pipe()
    sys.stdout.flush()
    if not (pid := os.fork()):
        os.close(read)
        _answer(write, work)
    os.close(write)
    return pid, read


def _result(pid: int, read: int) -> Any:
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    result, broken = pickle.loads(answer) if answer else (None, "it died without a word")
    if broken:
        raise SystemExit(f"a process of the run failed:\n{broken}")
    return result


def _answer(write: int, work: Work) -> None:
    try:
        answer = pickle.dumps((work(), ""))
    except BaseException:  # noqa: BLE001 - this process ends here, and its parent says why
        answer = pickle.dumps((None, traceback.format_exc()))
    with os.fdopen(write, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


@dataclass
class Outcome:
    """What came of one job. `ended`: done, died or late; `answer` is what it returned, `during`
    what it last noted."""

    ended: str
    answer: Any
    during: str
    seconds: float


@dataclass
class _Running:
    job: Any
    pid: int
    pipe: int
    began: float
    deadline: float
    is_over: bool = False
    rest: bytes = b""
    messages: dict[str, Any] = field(default_factory=dict)


Note = Callable[[str, float], None]  # what begins now, and how many seconds of CPU it may use


def pool(
    work: Callable[[Any, Note], Any], jobs: Iterable[Any], processes: int
) -> Iterator[tuple[Any, Outcome]]:
    """Each job in a fork of this process, `processes` of them at a time; whatever it starts ends
    with it."""
    _adopt_orphans()
    waiting, running, ours = iter(jobs), dict[int, _Running](), _children()
    selector = selectors.DefaultSelector()

    def start() -> bool:
        for job in waiting:
            one = _start(work, job)
            running[one.pipe] = one
            selector.register(one.pipe, selectors.EVENT_READ)
            return True
        return False

    while len(running) < processes and start():
        pass
    while running:
        for key, _ in selector.select(0.5):
            _hear(running[key.fd])
        for one in [
            one for one in running.values() if one.is_over or time.monotonic() > one.deadline
        ]:
            selector.unregister(one.pipe)
            del running[one.pipe]
            outcome = _end(one)
            _end_orphans(ours | {other.pid for other in running.values()})
            start()
            yield one.job, outcome


def _start(work: Callable[[Any, Note], Any], job: Any) -> _Running:
    read, write = os.pipe()
    sys.stdout.flush()
    if not (pid := os.fork()):
        os.close(read)
        _live(work, job, write)
    os.close(write)
    os.set_blocking(read, False)
    now = time.monotonic()
    return _Running(job, pid, read, now, now + _START_SECONDS)


def _live(work: Callable[[Any, Note], Any], job: Any, write: int) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))

    def say(**facts: Any) -> None:
        os.write(write, json.dumps(facts).encode() + b"\n")

    def note(what: str, seconds: float) -> None:
        say(during=what, seconds=_WALL_FACTOR * seconds)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process

    try:
        say(answer=work(job, note))
    except BaseException as broken:  # noqa: BLE001 - whatever it is, the parent hears of it
        say(broken="".join(traceback.format_exception_only(broken)).strip()[-500:])
    finally:
        os._exit(0)


def _hear(one: _Running) -> None:
    """Take in what the child says; nothing more is to come when its end of the pipe is closed."""
    while not one.is_over:
        try:
            received = os.read(one.pipe, 65536)
        except BlockingIOError:
            return
        *lines, one.rest = (one.rest + received).split(b"\n")
        for line in lines:
            one.messages |= json.loads(line)
            one.deadline = time.monotonic() + one.messages.get("seconds", _START_SECONDS)
        one.is_over = not received or "answer" in one.messages or "broken" in one.messages


def _end(one: _Running) -> Outcome:
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(one.pid, signal.SIGKILL)
    status = os.waitpid(one.pid, 0)[1]
    os.close(one.pipe)
    is_late = not one.is_over or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF)
    ended = "done" if "answer" in one.messages else "late" if is_late else "died"
    answer = one.messages.get("answer", one.messages.get("broken", ""))
    return Outcome(ended, answer, one.messages.get("during", ""), time.monotonic() - one.began)


# What a child of ours started in a session of its own (an emulator) is ours to end when that child
# is gone.


def _adopt_orphans() -> None:
    with suppress(OSError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _children() -> set[int]:
    return {int(one.name) for one in Path("/proc").glob("[0-9]*") if _parent(one) == os.getpid()}


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return 0


def _end_orphans(known: set[int]) -> None:
    for pid in _children() - known:
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
