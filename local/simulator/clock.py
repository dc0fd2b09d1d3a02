"""The simulator's own time: it runs at a chosen speed, and things happen when it says so."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WORKERS = 16


class Clock:
    """Simulator seconds since 1970. It starts at the real time and goes on while the simulator is
    down."""

    def __init__(self, speed: float, anchor: tuple[float, float] | None = None) -> None:
        real = time.time()
        self._real, self._simulated = anchor or (real, real)
        self._speed = speed
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._stopped = False
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="simulator-clock")
        self._thread = threading.Thread(target=self._run, name="simulator-clock", daemon=True)

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def anchor(self) -> tuple[float, float]:
        """A moment in real and in simulated time: with the speed, all that a restart needs."""
        return self._real, self._simulated

    def now(self) -> float:
        return self._simulated + (time.time() - self._real) * self._speed

    def set_speed(self, speed: float) -> None:
        if not 0 < speed <= 10_000_000:
            raise ValueError("speed is a number above 0 and at most 10000000")
        with self._changed:
            self._real, self._simulated = time.time(), self.now()
            self._speed = speed
            self._changed.notify()

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do it at this simulated moment; a moment that has passed means now."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._ticket), action))
            self._changed.notify()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                wait = None if not self._due else (self._due[0][0] - self.now()) / self._speed
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                _, _, action = heapq.heappop(self._due)
            self._workers.submit(_loudly, action)


def _loudly(action: Callable[[], None]) -> None:
    """An executor keeps an exception to itself; here it is to be seen."""
    try:
        action()
    except Exception:
        traceback.print_exc()
        raise
