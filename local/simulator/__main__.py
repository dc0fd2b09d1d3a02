"""python -m local.simulator: the simulated providers, until ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import threading
from typing import Any

from local.simulator import KINDS, Options, Simulator


def main(arguments: list[str] | None = None) -> int:
    given = vars(_parser().parse_args(arguments))
    as_json = given.pop("json")
    try:
        simulator = Simulator(Options(**given))
    except OSError as error:
        print(f"cannot listen: {error}; choose another --port, or 0 for free ones", file=sys.stderr)
        return 1
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    simulator.start()
    _announce(simulator, as_json)
    over.wait()
    simulator.stop()
    return 0


def _announce(simulator: Simulator, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"addresses": simulator.addresses, "keys": simulator.keys}), flush=True)
        return
    for name, address in simulator.addresses.items():
        key = simulator.keys.get(name)
        print(f"{name:<8} {address}" + (f"  key {key}" if key else ""))
    print(
        f"kling also takes a JWT of access key {simulator.keys['kling-access']}, secret key "
        f"{simulator.keys['kling-secret']}"
    )
    print("ctrl-C stops it", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.simulator",
        description="Simulated providers of talking videos, over real HTTP: each on its own port, "
        "with its own key. "
        "See docs/simulator.md for requests to copy, and the control endpoint.",
        epilog="Faults, by POST /control/faults on the control port: "
        + " · ".join(f"{kind}: {does}" for kind, (does, _) in KINDS.items()),
    )
    parser.add_argument(
        "--json", action="store_true", help="print addresses and keys as one line of JSON"
    )
    for option in dataclasses.fields(Options):
        flag, about = "--" + option.name.replace("_", "-"), option.metadata["help"]
        how: dict[str, Any] = {
            "default": option.default,
            "help": f"{about} (default: {_quoted(option.default)})",
        }
        if isinstance(option.default, bool):
            how["action"] = argparse.BooleanOptionalAction
        else:
            how |= {
                "type": type(option.default),
                "choices": option.metadata["among"] or None,
                "metavar": "X",
            }
        parser.add_argument(flag, **how)
    return parser


def _quoted(default: Any) -> str:
    return str(default).replace("%", "%%") if default != "" else "none"


if __name__ == "__main__":
    sys.exit(main())
