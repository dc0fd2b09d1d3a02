"""Simulated providers of talking videos: kie.ai, Kling, CometAPI and relay gateways, over real
HTTP.

with simulator.start(speed=60) as simulated:
    simulated.addresses["kie"], simulated.keys["kie"], simulated.ledger()
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from local.simulator.comet import Comet
from local.simulator.control import Control
from local.simulator.engine import Engine
from local.simulator.faults import KINDS
from local.simulator.kie import Kie
from local.simulator.kling import Kling
from local.simulator.options import Options
from local.simulator.relay import FlatRelay, NewApiRelay, Relay
from local.simulator.results import Results
from local.simulator.server import Listener

# In the order of the ports.
PROVIDERS = (Kie, Kling, Comet, Relay, NewApiRelay, FlatRelay)
LISTENERS = (*(kind.name for kind in PROVIDERS), "results", "control")


class Simulator:
    """A running simulator."""

    def __init__(self, options: Options) -> None:
        self._passing = "" if options.state else tempfile.mkdtemp(prefix="simulator-")
        self.engine = Engine(options, Path(options.state or self._passing))
        self.engine.providers = {kind.name: kind(self.engine) for kind in PROVIDERS}
        doors = {name: provider.answer for name, provider in self.engine.providers.items()}
        doors |= {"results": Results(self.engine).answer, "control": Control(self.engine).answer}
        self._listeners: list[Listener] = []
        try:
            for name, port in self._ports(options).items():
                self._listeners.append(
                    Listener(name, (options.bind, port), doors[name], options.verbose)
                )
        except OSError:
            self.stop()
            raise
        host = options.advertise or (options.bind if options.bind != "0.0.0.0" else "127.0.0.1")
        self.addresses = {door.name: f"http://{host}:{door.port}" for door in self._listeners}
        self.engine.book.put("fact", "ports", {door.name: door.port for door in self._listeners})
        self.engine.addresses = self.addresses
        self.keys = {name: provider.key for name, provider in self.engine.providers.items()}
        self.keys |= {
            "kling-access": options.kling_access_key,
            "kling-secret": options.kling_secret_key,
        }

    def start(self) -> None:
        self.engine.start()
        for door in self._listeners:
            door.start()

    def stop(self) -> None:
        with ThreadPoolExecutor(len(LISTENERS)) as all_at_once:
            list(all_at_once.map(Listener.stop, self._listeners))
        self.engine.stop()
        if self._passing:
            shutil.rmtree(self._passing, ignore_errors=True)

    def ledger(self) -> list[dict[str, Any]]:
        """Every charge and refund so far, oldest first."""
        return self.engine.book.ledger()

    def fault(self, fault: str, **settings: Any) -> str:
        """Make something go wrong, as `POST /control/faults`; gives its id."""
        return str(
            self.engine.faults.add({"fault": fault} | settings, self.engine.clock.now())["id"]
        )

    def clear_faults(self) -> None:
        self.engine.faults.remove()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def _ports(self, options: Options) -> dict[str, int]:
        """Asked for, or as before the restart, or any that is free."""
        if options.port:
            return {name: options.port + at for at, name in enumerate(LISTENERS)}
        before = self.engine.book.get("fact", "ports") or {}
        return {name: int(before.get(name, 0)) for name in LISTENERS}


def start(
    *,
    port: int = 0,
    speed: float = 1.0,
    state: str | Path | None = None,
    callbacks: bool = True,
    **more: Any,
) -> Simulator:
    """A simulator in threads of this process; `more` are fields of `Options`."""
    simulator = Simulator(
        Options(port=port, speed=speed, state=str(state or ""), callbacks=callbacks, **more)
    )
    simulator.start()
    return simulator


__all__ = ["KINDS", "LISTENERS", "Options", "Simulator", "start"]
