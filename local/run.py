"""One task on this machine, from two files to the archived video: with the simulated providers, or
with a real one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import environment, files, follow
from local import live as paid
from local.environment import Environment
from local.follow import Follower, Row
from local.screen import Screen

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class Order:
    """A face, a voice, the name they are dropped under, and the settings beside them."""

    face: Path
    voice: Path
    stem: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def drop(self, running: Environment, screen: Screen) -> Follower:
        if self.settings:
            running.drop(f"drop/{self.stem}.json", json.dumps(dict(self.settings)).encode())
        names = [f"{self.stem}{path.suffix}" for path in (self.face, self.voice)]
        for name, path in zip(names, (self.face, self.voice), strict=True):
            running.drop(f"drop/{name}", path.read_bytes())
        screen.say(f"dropped     {names[0]} and {names[1]} into s3://{running.inbox}/drop/")
        return Follower(running, screen, f"drop/{names[1]}")


def demo(screen: Screen) -> None:
    """The sample face and voice."""
    simulated(screen, Order(SAMPLES / "portrait.png", SAMPLES / "voice.mp3", "hello"))


def simulated(screen: Screen, order: Order) -> None:
    """With the simulated providers: costs nothing."""
    files.check(order.face, order.voice)
    follow.check_out()
    running = environment.start(screen)
    try:
        dropped = time.monotonic()
        follower = order.drop(running, screen)
        row, event = screen.during("waiting", lambda: follower.to_the_end(follow.PATIENCE_SECONDS))
        took = time.monotonic() - dropped
        video = follow.copy_out(running, event)
        cost = f"{_cost(row)} at {row['provider']} (simulated)\nCharged   {_charged(running, row)}"
    finally:
        running.stop()
    _sum_up(screen, order, cost, took, video)


def live(screen: Screen, order: Order, *, yes: bool) -> None:
    """With the real provider: the price is shown and confirmed before anything is paid."""
    files.check(order.face, order.voice)
    follow.check_out()
    provider = str(order.settings["provider"])
    secret = paid.read_secret(provider)
    note = paid.Note(provider, order.face, order.voice, order.settings)
    running = environment.start(screen, paid.OPTIONS, simulate=None)
    environment.put_secret(running.cloud, running.stack, provider, secret)
    running.let_submit(False)
    dropped = time.monotonic()
    follower = order.drop(running, screen)
    follower.on_change = note.keep
    try:
        row = follower.until(lambda row: row["status"] == "READY", follow.PATIENCE_SECONDS)
        paid.confirm(row, yes=yes)
        running.let_submit(True)
        _bring_home(screen, running, follower, note, order, dropped)
    finally:
        _end(screen, running, follower, note)


def resume(screen: Screen, job_id: str = "") -> None:
    """Take up the job that an earlier --live run paid, and pay nothing."""
    note, job_id = paid.unfinished(job_id)
    order = Order(note.face, note.voice, note.voice.stem, note.settings)
    secret = paid.read_secret(note.provider)
    options = {**paid.OPTIONS, "submit_enabled": False}
    running = environment.start(screen, options, simulate=None)
    environment.put_secret(running.cloud, running.stack, note.provider, secret)
    dropped = time.monotonic()
    follower = order.drop(running, screen)
    try:
        row = follower.until(lambda row: row["status"] == "READY", follow.PATIENCE_SECONDS)
        paid.adopt(running.cloud, running.stack.name, row, job_id, screen)
        _bring_home(screen, running, follower, note, order, dropped)
    finally:
        _end(screen, running, follower, note)


def _bring_home(
    screen: Screen,
    running: Environment,
    follower: Follower,
    note: paid.Note,
    order: Order,
    dropped: float,
) -> None:
    row, event = follower.to_the_end(paid.PATIENCE_SECONDS)
    video = follow.copy_out(running, event, note.folder)
    note.drop()
    _sum_up(screen, order, f"{_cost(row)} at {row['provider']}", time.monotonic() - dropped, video)


def _end(screen: Screen, running: Environment, follower: Follower, note: paid.Note) -> None:
    """Stop everything; a job that is paid and not at home is written down first."""
    row = running.task(follower.task_id) if follower.task_id else None
    if row and row["status"] in paid.OPEN:
        note.keep(row)
    elif row and row["status"] == "FAILED":
        note.drop()
    running.stop()
    if row and row["status"] in paid.OPEN:
        screen.plain(note.last_words(row))


def _cost(row: Row) -> str:
    charge = row.get("charge_usd")
    return follow.price(row) if charge is None else f"{float(charge):.2f} USD"


def _charged(running: Environment, row: Row) -> str:
    """How often the task was charged, counted in the simulator's own ledger."""
    if row.get("pieces"):
        return _charged_in_pieces(running, row)
    times = sum(line["kind"] == "charge" for line in running.charges_of(row))
    if times == 1:
        return "once: the simulator's ledger has one line for it"
    return f"{times} times by the simulator's ledger, which is a fault of Talkdrop"


def _charged_in_pieces(running: Environment, row: Row) -> str:
    """Every piece once, counted in the simulator's own ledger."""
    pieces = [one for one in running.tasks() if one.get("parent") == row["task_id"]]
    times = [
        sum(line["kind"] == "charge" for line in running.charges_of(piece)) for piece in pieces
    ]
    if times == [1] * int(row["pieces"]["all"]):
        return f"once for each of {len(times)} pieces, by the simulator's ledger"
    return f"its pieces {times} times, which is a fault of Talkdrop"


def _sum_up(screen: Screen, order: Order, cost: str, took: float, video: Path) -> None:
    screen.plain(
        f"\nDropped   {order.face.name} and {order.voice.name}\n"
        f"Cost      {cost}\n"
        f"Took      {took:.0f} s from the drop to the video, {screen.seconds:.0f} s in all\n"
        f"Video     {_short(video)}\n"
        f"Manifest  {_short(video.with_name('manifest.json'))}"
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
