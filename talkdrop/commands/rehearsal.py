"""One small task that goes the whole way of a stack: what `talkdrop doctor --rehearse` plays.

Where the stack's own secret leads to the simulator, as on the embedded run, nothing is paid.
Anywhere else it is a real video of three seconds by the cheapest model, after its price was agreed
to; a video that is under way from an earlier rehearsal is followed, and not paid again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from functions.api.views import TaskView
from functions.settings import options
from functions.tasks import queries
from functions.tasks.task import Status, Task
from talkdrop import stack, verify
from talkdrop.client import RESTING, Client
from talkdrop.commands import screen
from talkdrop.commands.checks import Check, check
from talkdrop.commands.submit import agree, check_all
from talkdrop.files import Submission

SAMPLES = Path(__file__).parents[1] / "rehearsal"
FOLDER = "rehearsal/"
_POLL_SECONDS = 2.0
_EVENT_SECONDS = 60.0
# Of those of `doctor`, what a task cannot be made without; and the key and state of its provider.
_NEEDED = ("API", "submitting")


def rehearse(
    found: stack.Stack, before: Sequence[Check], *, yes: bool, minutes: float
) -> Iterator[Check]:
    """The steps with their times go to stderr, what came of them is answered. `before`: what the
    other checks found. Raises Declined where its price is not agreed to."""
    with Client(found.outputs["ApiUrl"], region=found.region) as client:
        provider = client.models()["default_provider"]
        needed = {*_NEEDED, f"key of {provider}", f"provider {provider}"}
        if any(one["name"] in needed and not one["ok"] for one in before):
            yield check("rehearsal", False, "not begun: mend what is BAD first")
            return
        free = _is_simulated(found, provider)
        task_id = _under_way(client) or _opened(client, free=free, yes=yes)
        task = _followed(client, task_id, minutes * 60)
        yield _ended(task)
        if task["status"] == Status.COMPLETED:
            stack.enter(found.name)
            yield from _proved(client, task)


def _is_simulated(found: stack.Stack, provider: str) -> bool:
    """Whether this stack pays the simulator. Only the secret tells: an emulated AWS may hold a real
    provider's key, and what the environment says of a simulator may be of another run."""
    if not found.simulator:
        return False
    try:
        state = dict(httpx.get(f"{found.simulator}/control/state").json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError):
        return False
    address = dict(state.get("addresses") or {}).get(provider)
    return bool(address) and stack.secret(found.secret_id(provider)).get("base_url") == address


def _under_way(client: Client) -> str:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    tasks = client.tasks(prefix=FOLDER, since=yesterday)
    task = next((one for one in tasks if one["status"] not in RESTING), None)
    if task is None:
        return ""
    screen.note(f"goes on with the rehearsal of {task['created_at']}: it is not paid again")
    return task["task_id"]


def _opened(client: Client, *, free: bool, yes: bool) -> str:
    folder = f"{FOLDER}{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    consent = {"who": "a drawn face and a synthetic voice", "scope": "a rehearsal"}
    face, voice = SAMPLES / "portrait.png", SAMPLES / "voice.mp3"
    given = Submission(face, voice, folder, consent=consent)
    price = check_all(client, [given], quiet=True)
    if free:
        screen.note(f"the provider is simulated: its quote of {price:.3f} USD costs nothing")
    else:
        screen.note(f"a real video of three seconds, by the price list {price:.3f} USD")
        agree([given], price, None, yes=yes)
    # Not a cent more than was agreed to.
    task = client.submit(face, voice, folder=folder, consent=consent, max_usd=price)
    return task["task_id"]


def _followed(client: Client, task_id: str, seconds: float) -> TaskView:
    """The task when it is at rest, or when the time is over."""
    began, shown = time.monotonic(), ""
    while True:
        task = client.task(task_id)
        if task["status"] != shown:
            shown = task["status"]
            screen.note(f"{time.monotonic() - began:7.1f} s  {shown:<11} {screen.why(task)}")
        if shown in RESTING or time.monotonic() - began > seconds:
            return task
        time.sleep(_POLL_SECONDS)


def _ended(task: TaskView) -> Check:
    name = task["task_id"][: screen.SHORT_ID]
    if task["status"] == Status.COMPLETED:
        cost = screen.cost(task) or 0
        how = "charged" if task["charge_usd"] is not None else "quoted"
        return check("rehearsal", True, f"{name} at {task['provider']}, {cost:.3f} USD {how}")
    what = f"{task['status']}, {screen.why(task)}" if screen.why(task) else task["status"]
    more = f"talkdrop explain {name}; talkdrop doctor --rehearse goes on with it"
    return check("rehearsal", False, f"{what}: {more}")


def _proved(client: Client, task: TaskView) -> Iterator[Check]:
    """The video by its bytes, and what else must have come of the task."""
    with tempfile.TemporaryDirectory() as directory:
        size = client.download(task, directory).stat().st_size
    row = _announced(task["task_id"])
    differing = list(verify.disagreements(row))
    seconds = f"{float(task['video']['seconds']):.1f} s, " if task["video"] else ""
    whole = f"{seconds}{size} bytes, as its row and its manifest say"
    yield check("video", not differing, "; ".join(differing) or whole)
    is_out = row.announced == row.event_id
    yield check("event", is_out, "announced" if is_out else "not out yet: the log of announce")
    if options().callbacks:
        came = row.callbacks_received > 0
        none = "none came, it was found by polling: does the API's log show POST /callbacks?"
        yield check("callback", came, "came" if came else none)


def _announced(task_id: str) -> Task:
    """The row once its event is out, or as it stands after a minute."""
    until = time.monotonic() + _EVENT_SECONDS
    while True:
        row = queries.load(task_id)
        assert row, f"the row of {task_id} is gone"
        if row.announced == row.event_id or time.monotonic() > until:
            return row
        time.sleep(_POLL_SECONDS)
