"""The handlers in the fault model's account, called by hand: rows at any point of their way, and a
clock that the test moves.

Nothing runs by itself: what a handler sends or starts is kept for the test to look at. A test costs
a few milliseconds, so that each condition and each limit can have one on either side of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from functions import links, providers, secrets, settings
from functions.tasks import queries, steps, table
from functions.tasks.executions import Interrupt
from functions.tasks.table import Item, Update
from functions.tasks.task import Status, Task, key_of
from tests.faults import wires
from tests.faults.account import INBOX, Account
from tests.faults.clockwork import Clock
from tests.faults.dynamo import Refused
from tests.faults.plans import Plan
from tests.faults.runs import PORTRAIT, VOICE
from tests.faults.sockets import environment

ADDRESSES = {
    "kie": "https://api.kie.ai",
    "kling": "https://api-singapore.klingai.com",
    "comet": "https://api.cometapi.com",
    "relay": "https://relay.gateway.test",
}
JOB = "9f2c6a1e0b7d4c5f8a3e2d1c0b9a8f7e"
VIDEO_URL = "https://results.example.test/video.mp4"
DOWN = "InternalServerError"  # what AWS answers when it is unwell, after all of botocore's retries
Answer = Any  # JSON, (status, JSON, bytes or a stream), or an exception of httpx to raise


@dataclass(frozen=True)
class Call:
    """A call to AWS: which, and with what."""

    operation: str
    given: dict[str, Any]


@dataclass
class Refusal:
    """What AWS answers a call with instead of doing it, `after` so many that it does."""

    code: str
    times: int
    after: int = 0
    more: dict[str, Any] = field(default_factory=dict)


class _Account(Account):
    """Keeps every call, and refuses some."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, Plan(1))
        self.calls: list[Call] = []
        self.refusals: dict[str, Refusal] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.instead: dict[str, Callable[[dict[str, Any]], Any]] = {}

    def call(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        self.before.pop(operation, lambda: None)()
        self.calls.append(Call(operation, dict(parameters)))
        refusal = self.refusals.get(operation)
        if refusal and refusal.after:
            refusal.after -= 1
        elif refusal and refusal.times:
            refusal.times -= 1
            raise Refused(refusal.code, **refusal.more)
        if operation in self.instead:
            return self.instead[operation](parameters)
        return self.really(service, operation, parameters)

    def really(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        """What the account of the fault model answers."""
        return super().call(service, operation, parameters)


class Desk:
    """`requests` is what came to the provider, `metrics` what was counted. `meanwhile` is done
    once, before the provider's next answer. `share` is what chance draws: 0 the least, 1 the
    most. `videos` is what the provider's result host serves, by path."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock(1, Plan(1))
        self.account = _Account(self.clock)
        self.requests: list[httpx.Request] = []
        self.metrics: dict[str, float] = defaultdict(float)
        self.meanwhile: Callable[[], object] = lambda: None
        self.share = 0.0
        self.videos: dict[str, bytes] = {}
        self.source()
        self._chance = _Chance(self)
        self._answers: dict[str, list[Answer]] = {"/chat/credit": [credits(1000)]}
        self._made = 0
        self.options(**options)
        self.account.secrets["relay"] |= {"base_url": ADDRESSES["relay"]}

    def options(self, **options: Any) -> None:
        wires.connect(self.account, self._serve, self._video, 1, json.dumps(options))
        environment.random = self._chance

    # The provider.

    def answers(self, *answers: Answer, to: str = "") -> None:
        """In turn, the last one for ever, to requests whose address contains `to`."""
        self._answers = {to: list(answers)} | {
            path: old for path, old in self._answers.items() if path != to
        }

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        act, self.meanwhile = self.meanwhile, lambda: None
        act()
        address = f"{request.method} {request.url}"
        found = [path for path in self._answers if path in address]
        if not found:
            raise httpx.ConnectError(f"nothing is written down for {address}", request=request)
        answers = self._answers[max(found, key=len)]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        headers = {"content-type": "application/json"}
        if isinstance(content, httpx.SyncByteStream):
            return httpx.Response(status, headers=headers, stream=content, request=request)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return httpx.Response(status, headers=headers, content=raw, request=request)

    def source(self, *, etag: str = "", speed: float = 0, is_chunked: bool = False) -> None:
        """How the result host serves: with an ETag that takes ranges, so many bytes a second,
        without a length."""
        environment.etag, environment.speed = etag, speed
        environment.is_chunked = is_chunked

    def _video(self, path: str) -> bytes | None:
        return self.videos.get(path)

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The bodies of the paid POSTs."""
        free = ("/download-url", "upload")
        return [
            json.loads(one.content)
            for one in self.requests
            if one.method == "POST" and not any(path in str(one.url) for path in free)
        ]

    # Rows.

    def row(self, status: Status = Status.READY, *, provider: str = "kie", **facts: Any) -> Task:
        """A task in this status, made a moment ago, with its files in the inbox."""
        self._made += 1
        task_id = f"{self._made:04x}".rjust(32, "a")
        usual: dict[str, Any] = {
            "provider": provider,
            "model": providers.get(provider).default_model,
            "stem": f"in/hello-{self._made}",
            "quote_usd": Decimal("0.18"),
            "portrait": self.file(f"in/hello-{self._made}.png", PORTRAIT, "image/png"),
            "audio": self.file(f"in/hello-{self._made}.wav", VOICE, "audio/wav") | {"seconds": 12},
        }
        usual["created_at"] = table.stamp(table.now())
        steps.open_task(Task(task_id, Status.READY, **{**usual, **facts}))
        due = table.later(seconds=3600)
        self.note(task_id, **steps.placed(task_id, status, due))
        return self.task(task_id)

    def file(self, key: str, content: bytes, kind: str) -> dict[str, Any]:
        """What a row says of a file that lies in the inbox."""
        stored = self.account.buckets.put(INBOX, key, content)
        return {
            "bucket": INBOX,
            "key": key,
            "version_id": stored.version_id,
            "etag": stored.etag.strip('"'),
            "content_type": kind,
            "bytes": len(content),
        }

    def sent(self, **facts: Any) -> dict[str, Any]:
        """Facts of a row whose POST was accepted just now."""
        at = table.stamp(table.now())
        return {
            "intended_at": at, "sent_at": at, "first_sent_at": at, "submitted_at": at,
            "job_id": JOB, **facts,
        }  # fmt: skip

    def doubtful(self, **facts: Any) -> dict[str, Any]:
        """Facts of a row whose POST was sent just now, and whose answer was lost."""
        at = table.stamp(table.now())
        return {
            "intended_at": at, "sent_at": at, "first_sent_at": at, "doubt": at, "owner": "o-1",
            "lease_until": at, **facts,
        }  # fmt: skip

    def note(self, task_id: str, **facts: Any) -> Task:
        """Write this into the row, whatever stands there."""
        Update(key_of(task_id)).set(**facts).run()
        return self.task(task_id)

    def task(self, task_id: str) -> Task:
        found = queries.load(task_id)
        assert found is not None
        return found

    def item(self, pk: str) -> Item:
        return table.read(pk) or {}

    def leases(self, provider: str = "kie") -> tuple[set[str], int]:
        """The provider's turns by name, and how many running jobs it counts."""
        item = self.item(f"slots#{provider}")
        counts = (count for name, count in item.items() if name.startswith("lapsing_"))
        return set(item["leases"]), sum(counts)

    def put(self, pk: str, **facts: Any) -> None:
        Update(pk).set(**facts).run()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    # The doors.

    def invoke(
        self, function: str, event: Mapping[str, Any], *, milliseconds: Sequence[int] = (900_000,)
    ) -> Any:
        """`milliseconds`: what is left of the invocation, each time that it is looked at; the last
        one for ever."""
        left = list(milliseconds)
        handler = importlib.import_module(f"functions.handlers.{function}").handler
        context = SimpleNamespace(
            function_name=function, memory_limit_in_mb=512, aws_request_id="1",
            invoked_function_arn=f"arn:aws:lambda:x:1:function:{function}",
            get_remaining_time_in_millis=lambda: left.pop(0) if len(left) > 1 else left[0],
        )  # fmt: skip
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                return handler(dict(event), context)
        finally:
            self._read(printed.getvalue())

    def _read(self, printed: str) -> None:
        """The metrics that a handler printed, in CloudWatch's embedded format."""
        for line in printed.splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                for group in entry.get("_aws", {}).get("CloudWatchMetrics", []):
                    for metric in group["Metrics"]:
                        self.metrics[metric["Name"]] += sum(_list(entry[metric["Name"]]))

    def message(self, function: str, *bodies: Mapping[str, Any], receives: int = 1) -> list[str]:
        """Messages of the function's queue; the ids of those that come again."""
        queue = "uploads" if function == "intake" else "submissions"
        records = [
            {
                "messageId": str(number), "eventSource": "aws:sqs", "body": json.dumps(body),
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
                "receiptHandle": f"receipt-{number}",
            }
            for number, body in enumerate(bodies)
        ]  # fmt: skip
        answer = self.invoke(function, {"Records": records})
        return [one["itemIdentifier"] for one in answer["batchItemFailures"]]

    def submit(self, task: Task, *, turn: str | None = None) -> Task:
        message = {"task_id": task.task_id, "turn": task.not_before if turn is None else turn}
        assert self.message("submit", message) == []
        return self.task(task.task_id)

    def watch(self, task: Task, polls_done: int = 1, **more: Any) -> Task:
        """One turn of the workflow's state; what it answers is in `woken`."""
        self.invoke(
            "watch",
            {
                "task_id": task.task_id, "attempt": task.attempt, "task_token": "the workflow's",
                "polls_done": polls_done, "definition": 2, **more,
            },
        )  # fmt: skip
        return self.task(task.task_id)

    def call_back(self, task: Task, payload: Any = None, *, attempt: int = 0, **event: Any) -> int:
        """The provider calls back; the status that it is answered."""
        url = links.callback_url(
            task.provider, task.task_id, attempt or task.attempt, secrets.callback_keys()
        )
        given = {"body": json.dumps(payload), "headers": {}, **event}
        return self.knock(url, **given)

    def knock(self, url: str, **event: Any) -> int:
        """Anybody's request to this callback URL."""
        names = ("provider", "task_id", "attempt", "signature")
        path = dict(zip(names, url.split("/callbacks/")[1].split("/"), strict=False))
        answer = self.invoke("callback", {"pathParameters": path, **event})
        return int(answer["statusCode"])

    def execution(self, task: Task, suffix: str = "", *, status: str = "RUNNING") -> None:
        name = f"{task.task_id}-{task.attempt}{suffix}"
        self.account.workflow.start_execution(name, "{}")
        self.account.workflow.executions[name].status = status

    def token(self, task: Task) -> str:
        """A task token that the workflow waits for."""
        self.execution(task)
        execution = self.account.workflow.executions[f"{task.task_id}-{task.attempt}"]
        return self.account.workflow.new_token(execution, execution.turn)

    def api(
        self, method: str, path: str, content: Any = None, *, who: Any = None, **event: Any
    ) -> tuple[int, Any]:
        """A request to the API; its status and its JSON."""
        given = {
            "version": "2.0", "rawPath": path, "rawQueryString": "",
            "headers": {"content-type": "application/json"},
            "requestContext": {
                "http": {"method": method, "path": path}, "stage": "$default",
                "authorizer": {"iam": {"userArn": "ada"}} if who is None else who,
            },
            "body": None if content is None else json.dumps(content), "isBase64Encoded": False,
        }  # fmt: skip
        answer = self.invoke("api", {**given, **event})
        return int(answer["statusCode"]), json.loads(answer["body"] or "null")

    def sweep(self, *milliseconds: int) -> Any:
        return self.invoke("sweep", {}, milliseconds=milliseconds or (900_000,))

    # What came of it.

    def calls(self, operation: str) -> list[dict[str, Any]]:
        return [call.given for call in self.account.calls if call.operation == operation]

    def refuse(
        self, operation: str, code: str = DOWN, times: int = 10**6, after: int = 0, **more: Any
    ) -> None:
        """AWS refuses this call so many times, `after` so many that it answers."""
        self.account.refusals[operation] = Refusal(code, times, after, more)

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Something happens right before AWS does the next such call."""
        self.account.before[operation] = act

    def instead(self, operation: str, answer: Callable[[dict[str, Any]], Any]) -> None:
        """AWS answers such calls in this way."""
        self.account.instead[operation] = answer

    @property
    def woken(self) -> list[dict[str, Any]]:
        """What the workflow was answered, by its task token: a result, or an error that leads to
        another state."""
        return [
            _answer_to_workflow(call.given)
            for call in self.account.calls
            if call.operation in {"SendTaskSuccess", "SendTaskFailure"}
        ]

    @property
    def started(self) -> list[str]:
        """The names of the executions that were started, without the ids of their tasks."""
        return [call["name"][32:] for call in self.calls("StartExecution")]

    def messages(self, queue: str = "submissions") -> list[dict[str, Any]]:
        sent = self.account.submissions if queue == "submissions" else self.account.uploads
        return [json.loads(body) for body in sent.sent]


def _answer_to_workflow(given: Mapping[str, str]) -> dict[str, Any]:
    if "output" in given:
        return dict(json.loads(given["output"]))
    next = {Interrupt.LOOK_AGAIN: "watch", Interrupt.OVER: "done"}[Interrupt(given["error"])]
    soon = float(given["cause"])
    return {"next": next} | ({"soon": soon} if soon else {})


class _Chance(random.Random):
    """Draws what the test wants it to draw."""

    def __init__(self, of: Desk) -> None:
        super().__init__(1)
        self._of = of

    def uniform(self, a: float, b: float) -> float:
        return a + self._of.share * (b - a)


def credits(amount: float) -> dict[str, Any]:
    return {"code": 200, "msg": "success", "data": amount}


def kie_record(
    task: Task, state: str, job_id: str = JOB, *, attempt: int | None = None, **more: Any
) -> dict[str, Any]:
    """kie's record of a job; `param` repeats the callback URL of the attempt that it was made for,
    or of none where `attempt` is 0."""
    attempt = task.attempt if attempt is None else attempt
    url = links.callback_url("kie", task.task_id, attempt or 1, secrets.callback_keys())
    param = {"callBackUrl": url} if attempt else {}
    job = {
        "taskId": job_id, "state": state, "param": json.dumps(param), "failCode": None,
        "resultJson": json.dumps({"resultUrls": [VIDEO_URL]}) if state == "success" else "",
    }  # fmt: skip
    return {"code": 200, "msg": "success", "data": {**job, **more}}


def kling_record(external_id: str | None, status: str, job_id: str = JOB) -> dict[str, Any]:
    """Kling's record of a job, as `data` of an answer or a line of its list."""
    videos = [{"url": VIDEO_URL}] if status == "succeed" else []
    return {
        "task_id": job_id, "task_status": status, "task_result": {"videos": videos},
        "task_info": {"external_task_id": external_id} if external_id else {},
    }  # fmt: skip


def kling_answer(data: Any) -> dict[str, Any]:
    return {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data}


ACCEPTED_BY_KIE = {"code": 200, "msg": "success", "data": {"taskId": JOB}}
ACCEPTED_BY_KLING = {"code": 0, "message": "SUCCEED", "data": {"task_id": JOB}}
NOT_FOUND_AT_KIE = {"code": 422, "msg": "recordInfo is null", "data": None}
NOT_FOUND_AT_KLING = (404, {"code": 1203, "message": "not found", "request_id": "r"})


def _list(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="package")
def memory() -> Iterator[None]:
    """The account of the fault model for the tests of this folder; others have an emulated one."""
    settings.forget()
    secrets.forget()
    wires.connect(_Account(Clock(1, Plan(1))), None, None, 1, "{}")
    yield
    wires.release()
    settings.forget()
    secrets.forget()


@pytest.fixture
def desk(memory: None) -> Desk:
    del memory
    return Desk()
