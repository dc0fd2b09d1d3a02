"""Who ends Lambda processes, and takes the table away, while a bench runs: `Killer`.

A process is ended where it hurts: while it works on an invocation, after a random share of it. What
an idle process holds is nothing, and its death proves nothing.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from local.environment import Environment

# They take a task from its paid POST to its event.
FUNCTIONS = ("submit", "watch", "archive", "settle", "callback", "announce")
# Of each at least so many must have died in the middle of an invocation.
DEATHS = 5
PAUSE_SECONDS = (0.2, 1.0)
# How long a process is looked for that works.
SEARCH_SECONDS = 2.0
# A process that did nothing for so long has started, and waits for an invocation.
IDLE_SECONDS = 0.2
# How far into its work a process gets: the mean of an exponential distribution. A warm invocation
# is some 50 ms of CPU here.
DEPTH_SECONDS = 0.03
OUTAGE_EVERY_SECONDS, OUTAGE_SECONDS = (15.0, 40.0), (1.0, 4.0)
DIED = re.compile(r"Lambda (\S+): Runtime exited before returning a response")


class Killer:
    """Ends one working Lambda process after the other until it is stopped or its time is over; the
    functions that died least come first. Now and then the table fails for some seconds."""

    def __init__(self, running: Environment, dice: random.Random, seconds: float) -> None:
        self.kills = self.outages = 0
        self._running, self._dice = running, dice
        self._until = time.monotonic() + seconds
        self._ticks: dict[int, int] = {}
        self._worked_at: dict[int, float] = {}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._kill, self._take_table)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def deaths(self) -> Counter[str]:
        """How often each function died in the middle of an invocation, as the emulator saw it."""
        names = {self._running.stack.function(name): name for name in FUNCTIONS}
        log = self._running.cloud.log.read_text(errors="replace")
        return Counter(names.get(found, "another") for found in DIED.findall(log))

    def _kill(self) -> None:
        while self._goes_on(PAUSE_SECONDS):
            working = self._find_working()
            time.sleep(self._dice.expovariate(1 / DEPTH_SECONDS))
            if working:
                self.kills += _end(working)

    def _find_working(self) -> int | None:
        """A process in the middle of an invocation; None if there was none for a while."""
        deaths = self.deaths()
        deadline = time.monotonic() + SEARCH_SECONDS
        while time.monotonic() < deadline:
            if found := self._at_work():
                return min(found, key=lambda one: self._rank(function_of(one), deaths))
            time.sleep(0.01)
        return None

    def _rank(self, function: str, deaths: Counter[str]) -> tuple[int, float]:
        """Whoever takes no task from its POST to its event comes last: it dies often enough."""
        died = deaths[function] if function in FUNCTIONS else deaths.total()
        return died, self._dice.random()

    def _at_work(self) -> list[int]:
        """The processes that use CPU again after they had been idle: they started before."""
        now = time.monotonic()
        found = []
        for one in self._running.cloud.lambda_processes():
            ticks = _ticks_of(one)
            if ticks > self._ticks.get(one, -1):
                if now - self._worked_at.get(one, now) > IDLE_SECONDS:
                    found.append(one)
                self._worked_at[one] = now
            self._ticks[one] = ticks
        return found

    def _take_table(self) -> None:
        while self._goes_on(OUTAGE_EVERY_SECONDS):
            self.outages += 1
            with self._running.cloud.outage("dynamodb"):
                self._over.wait(self._dice.uniform(*OUTAGE_SECONDS))

    def _goes_on(self, pause: tuple[float, float]) -> bool:
        return not self._over.wait(self._dice.uniform(*pause)) and time.monotonic() < self._until


def function_of(process: int) -> str:
    """The Lambda function that a process runs, as its environment names it."""
    try:
        variables = Path(f"/proc/{process}/environ").read_text().split("\0")
    except OSError:  # it ended while we looked
        return ""
    named = dict(one.split("=", 1) for one in variables if "=" in one)
    return named.get("POWERTOOLS_SERVICE_NAME", "")


def _ticks_of(process: int) -> int:
    """CPU time used so far, in clock ticks."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _end(process: int) -> int:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself
        return 0
    return 1
