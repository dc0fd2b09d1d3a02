"""The providers, each with a billing ledger: what they accept, when a job ends, whom they call
back.

Written from their documentation, not from our clients: kie (no search, its record repeats the
callback URL), Kling (our own id is unique and finds the job), a relay (Kling's words, our id a mere
tag).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any, ClassVar

import httpx

from tests.faults.account import API_KEY, DOOR, Account
from tests.faults.clockwork import START, Broke
from tests.faults.jobs import Job
from tests.faults.sockets import RESULTS_HOST
from tests.faults.wires import presigned


class Vendor:
    """What all of them share. `dialect` is in the subclasses."""

    name = ""
    host = ""
    refusals: ClassVar[dict[str, Any]] = {}

    def __init__(self, account: Account, plan: Any, webhook_key: str = "") -> None:
        self.account = account
        self.clock = account.clock
        self.plan = plan
        self.webhook_key = webhook_key
        self.jobs: dict[str, Job] = {}
        self.creates = 0
        self.queries = 0
        self.posts = 0
        self.balance = 100_000.0
        self.downloads: dict[str, int] = {}
        self.callbacks_sent: list[tuple[str, dict[str, str], str]] = []
        self.most_a_window = 20
        self.repeats_its_job = False
        self.denies = False
        self._recent: list[float] = []
        self._cached: dict[int, float] = {}

    # The wire.

    def serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != self.host:
            raise httpx.ConnectError("no such host", request=request)
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return self.refusal("key")
        if request.method == "POST":
            return self._created(request)
        self.queries += 1
        begin, end = self.plan.traits.lookups_down
        if begin <= self.clock.now - START < end:
            return httpx.Response(503, content=b"<html>no server is available</html>")
        return self.query(request)

    def _created(self, request: httpx.Request) -> httpx.Response:
        before = len(self.jobs)
        self.posts += not request.url.path.endswith("/download-url")
        answer = self.create(request)
        if self.denies:
            return self.denial()
        if len(self.jobs) == before:
            return answer
        newest = [job for job in self.jobs.values() if not job.is_twin][-1]
        newest.refused = self.plan.refusal_with_a_job()
        return self.false_refusal(newest.refused) if newest.refused else answer

    def false_refusal(self, words: str) -> httpx.Response:
        return self.refusal("maintenance") if words == "sure" else self.denial()

    def result(self, path: str) -> bytes | None:
        """The video behind a link; a link may be dead at first."""
        job = self.jobs.get(path.rsplit("/", 1)[-1].removesuffix(".mp4").split("_")[0])
        if job is None or job.status(self.clock.now) != "success":
            return None
        downloads = self.downloads[job.job_id] = self.downloads.get(job.job_id, 0) + 1
        if downloads <= job.script.dead_links or job.script.serves == "nothing":
            return None
        return b"<html>not here</html>" * 99 if job.script.serves == "page" else job.video

    def create(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError

    def query(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError

    def refusal(self, why: str) -> httpx.Response:
        raise NotImplementedError

    def denial(self) -> httpx.Response:
        """The words of a refusal."""
        raise NotImplementedError

    def record(self, job: Job) -> dict[str, Any]:
        raise NotImplementedError

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        raise NotImplementedError

    def known_as(self, job_id: str) -> Job | None:
        """The job that is called so, by whichever of its names."""
        return self.jobs.get(job_id)

    # The work.

    def shut(self) -> str:
        """Why nothing is accepted just now, if so."""
        if why := self.plan.outage(self.clock.now):
            return str(why)
        self._recent = [at for at in self._recent if at > self.clock.now - 10]
        return "rate" if len(self._recent) >= self.most_a_window else ""

    def accept(
        self, request_body: dict[str, Any], callback_url: str, external_id: str, media: list[str]
    ) -> Job | None:
        """A job, or None when the media cannot be fetched."""
        if any(presigned(url).status_code != 200 for url in media):
            return None
        if self.repeats_its_job and self.jobs:
            return next(iter(self.jobs.values()))
        self.creates += 1
        self._recent.append(self.clock.now)
        task_id, attempt = self._owner(callback_url, external_id, media[0])
        number = hashlib.md5(
            f"{self.name}{self.creates}".encode(), usedforsecurity=False
        ).hexdigest()
        job_id = number if self.name == "kie" else str(880_000_000_000_000_000 + self.creates)
        script = self.plan.job()
        charge = self.price(request_body)
        job = Job(
            job_id,
            task_id,
            attempt,
            script,
            self.clock.now,
            callback_url,
            external_id,
            request_body,
            charge,
        )
        self.jobs[job_id] = job
        self._charge_at("create", job)
        self.clock.after(script.seconds / 3, lambda: self._charge_at("start", job))
        if script.has_twin:
            self._make_twin(job)
        self.clock.note(f"$ {self.name} accepts {job_id[:8]} for {task_id[:6]}-{attempt}: {script}")
        self.clock.after(script.seconds, lambda: self._ends(job))
        for wait, forged in self.plan.forgeries() if callback_url else ():
            self.clock.after(wait, lambda forged=forged: self._forge(job, forged))
        for status in self.intermediate(job):
            self.clock.after(script.seconds / 2, lambda status=status: self._post(job, status))
        return job

    def _owner(self, callback_url: str, external_id: str, portrait: str) -> tuple[str, int]:
        """For whom this is: for the ledger only. The provider itself could not tell."""
        if callback_url:
            parts = callback_url.removeprefix(DOOR).strip("/").split("/")
            return parts[2], int(parts[3])
        if external_id:
            task_id, _, attempt = external_id.rpartition("-")
            return task_id, int(attempt)
        key = httpx.URL(portrait).path[1:]
        items = self.account.table.items.items()
        return next(
            (pk.removeprefix("task#"), int(item["attempt"]["N"]))
            for pk, item in items
            if pk.startswith("task#") and item["portrait"]["M"].get("key", {}).get("S") == key
        )

    def price(self, request_body: dict[str, Any]) -> float:
        return 9.0

    def intermediate(self, job: Job) -> list[str]:
        return []

    def _ends(self, job: Job) -> None:
        self._charge_at("end", job)
        if job.script.outcome == "fail":
            self._refund(job)
        if job.callback_url:
            self._post(job, job.script.outcome)
        if job.script.fails_after and job.callback_url:
            self.clock.after(job.script.fails_after, lambda: self._post(job, "fail"))

    def _make_twin(self, job: Job) -> None:
        """One POST, two jobs: the provider's own doing."""
        script = replace(job.script, has_twin=False, seconds=job.script.seconds + 45)
        if self.name == "kie":
            twin_id = hashlib.md5(job.job_id.encode(), usedforsecurity=False).hexdigest()
        else:
            twin_id = str(int(job.job_id) + 500_000_000)
        twin = replace(
            job, job_id=twin_id, script=script, is_twin=True, accepted_at=job.accepted_at + 1
        )
        self.jobs[twin_id] = twin
        self.clock.after(script.seconds, lambda: self._ends(twin))

    # The money.

    def _charge_at(self, moment: str, job: Job) -> None:
        fails_free = moment == "end" and job.script.outcome == "fail"
        if self.plan.traits.charged_at == moment and not fails_free:
            self.balance -= job.charge

    def _refund(self, job: Job) -> None:
        kind = self.plan.traits.refunds
        if self.plan.traits.charged_at == "end" or kind == "never":
            return
        amount = job.charge / 2 if kind == "half" else job.charge
        self.clock.after(3 * 3600 if kind == "late" else 0, lambda: self._add(amount))

    def _add(self, amount: float) -> None:
        self.balance += amount

    def shown_balance(self) -> float:
        """As the account's page shows it."""
        kind = self.plan.traits.balance
        if kind == "cached":
            hour = int(self.clock.now // 3600)
            return self._cached.setdefault(hour, self.balance)
        if kind == "shared":  # each hour another user of the account makes a job, or tops it up
            hours = int((self.clock.now - START) // 3600)
            return self.balance - 9.0 * hours + (1000.0 if hours > 3 else 0.0)
        return float(round(self.balance, -1)) if kind == "rounded" else self.balance

    def _post(self, job: Job, status: str) -> None:
        body = json.dumps(self.callback_body(job, status))
        for wait in self.plan.deliveries("callback"):
            self.clock.after(wait, lambda: self._call(job, status, body, tries=3))

    def _call(self, job: Job, status: str, body: str, tries: int) -> None:
        def answered(code: int) -> None:
            if code == 200:
                job.callbacks_accepted += status in ("success", "fail")
            elif tries > 0 and code != 404:
                self.clock.after(20.0, lambda: self._call(job, status, body, tries - 1))

        sent = (job.callback_url.removeprefix(DOOR), self.signed(job, body), body)
        self.callbacks_sent.append(sent)
        self.account.post_callback(*sent, answered)

    def signed(self, job: Job, body: str) -> dict[str, str]:
        return {"Content-Type": "application/json"}

    def _forge(self, job: Job, forged: str) -> None:
        """A forged callback: with a wrong MAC, or to the right address with a forged body."""
        url = job.callback_url.removeprefix(DOOR)
        other = next((one for one in self.jobs if one != job.job_id), "6" * 18)
        if forged[-1].isdigit():
            other = other[:-1] + forged[-1]
        videos = [{"id": "v", "url": "http://169.254.169.254/latest/"}]
        kie_record = {
            "taskId": other,
            "state": "success",
            "resultJson": '{"resultUrls":["http://169.254.169.254/"]}',
        }
        request_body = {
            "task_id": other,
            "task_status": "succeed",
            "task_result": {"videos": videos},
        }
        body = json.dumps(
            {"code": 200, "msg": "success", "data": kie_record}
            if self.name == "kie"
            else request_body
        )
        if forged == "mac":
            url = url[:-4] + ("AAAA" if not url.endswith("AAAA") else "BBBB")

        def answered(code: int) -> None:
            if forged == "mac" and code == 200:
                raise Broke("a callback with a wrong MAC is refused", url)

        self.account.post_callback(url, {"Content-Type": "application/json"}, body, answered)


def _json(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(
        status, headers={"content-type": "application/json"}, content=json.dumps(body).encode()
    )


class Kie(Vendor):
    """docs/providers 2: HTTP 200 nearly always, the body's code is the real one."""

    name = "kie"
    host = "api.kie.ai"
    refusals: ClassVar = {"key": 401, "credits": 402, "rate": 429, "maintenance": 455}

    def refusal(self, why: str) -> httpx.Response:
        return _json({"code": self.refusals[why], "msg": f"refused: {why}", "data": None})

    def create(self, request: httpx.Request) -> httpx.Response:
        request_body = json.loads(request.content)
        if request.url.path.endswith("/download-url"):
            return _json({"code": 200, "msg": "success", "data": request_body["url"]})
        if why := self.shut():
            return self.refusal(why)
        media = [request_body["input"]["image_url"], request_body["input"]["audio_url"]]
        job = self.accept(request_body, request_body.get("callBackUrl", ""), "", media)
        if job is None:
            return self.denial()
        return _json(
            {"code": 200, "msg": "success", "data": {"taskId": job.job_id, "recordId": job.job_id}}
        )

    def denial(self) -> httpx.Response:
        return _json({"code": 500, "msg": "Server exception, please try again later", "data": None})

    def query(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/chat/credit":
            if self.plan.outage(self.clock.now) == "credits":
                return _json({"code": 200, "msg": "success", "data": 0})
            return _json({"code": 200, "msg": "success", "data": self.shown_balance()})
        job = self.jobs.get(request.url.params.get("taskId", ""))
        if job is None or self.clock.now - job.accepted_at < job.script.hidden_seconds:
            return _json({"code": 422, "msg": "recordInfo is null", "data": None})
        return _json({"code": 200, "msg": "success", "data": self.record(job)})

    def record(self, job: Job) -> dict[str, Any]:
        status = job.status(self.clock.now)
        param = {**job.request, "input": json.dumps(job.request["input"])}
        urls = json.dumps({"resultUrls": [f"http://{RESULTS_HOST}/k/{job.job_id}_1.mp4"]})
        over = status in ("success", "fail")
        return {
            "taskId": job.job_id,
            "model": job.request["model"],
            "param": json.dumps(param),
            "state": {"queued": "waiting", "running": "generating"}.get(status, status),
            "resultJson": urls if status == "success" else "",
            "failCode": "500" if status == "fail" else None,
            "failMsg": "Internal Error" if status == "fail" else None,
            "costTime": 188 if over else None,
            "creditsConsumed": (job.charge if status == "success" else 0) if over else None,
        }

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return {
            "code": 200 if status == "success" else 501,
            "msg": "done",
            "data": self.record(job),
        }

    def signed(self, job: Job, body: str) -> dict[str, str]:
        if not self.webhook_key:
            return super().signed(job, body)
        stamp = str(int(self.clock.now))
        mac = hmac.digest(
            self.webhook_key.encode(), f"{job.job_id}.{stamp}".encode(), hashlib.sha256
        )
        signature = {
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Signature": base64.b64encode(mac).decode(),
        }
        return {"Content-Type": "application/json", **signature}


class Kling(Vendor):
    """docs/providers 3: business codes under HTTP statuses, raw callbacks at every change."""

    name = "kling"
    host = "api-singapore.klingai.com"
    path = "/v1/videos/avatar/image2video"
    refusals: ClassVar = {
        "key": (401, 1002),
        "credits": (429, 1102),
        "rate": (429, 1302),
        "maintenance": (503, 5001),
    }
    is_unique = True
    most_running = 5

    def refusal(self, why: str) -> httpx.Response:
        status, code = self.refusals[why]
        return _json({"code": code, "message": f"refused: {why}", "request_id": "r"}, status)

    def create(self, request: httpx.Request) -> httpx.Response:
        request_body = json.loads(request.content)
        external_id = request_body.get("external_task_id", "")
        if why := self.shut():
            return self.refusal(why)
        if self.is_unique:
            is_known = any(job.external_id == external_id for job in self.jobs.values())
            if is_known and not self.plan.traits.takes_ids_twice:
                status, code, message = _DUPLICATES[self.plan.traits.duplicate_words]
                return _json({"code": code, "message": message, "request_id": "r"}, status)
            running = [
                job
                for job in self.jobs.values()
                if job.status(self.clock.now) in ("queued", "running")
            ]
            if len(running) >= self.most_running:
                return _json(
                    {"code": 1303, "message": "parallel task over resource pack limit"}, 429
                )
        job = self.accept(
            request_body,
            request_body.get("callback_url", ""),
            external_id,
            [request_body["image"], request_body["sound_file"]],
        )
        if job is None:
            return _json(
                {"code": 1201, "message": "cannot read the image or the sound", "request_id": "r"},
                400,
            )
        return _json(
            {"code": 0, "message": "SUCCEED", "request_id": "r", "data": self.record(job, "queued")}
        )

    def denial(self) -> httpx.Response:
        return _json({"code": 5000, "message": "Server internal error", "request_id": "r"}, 500)

    def query(self, request: httpx.Request) -> httpx.Response:
        if self.plan.outage(self.clock.now) == "credits":
            return self.refusal("credits")
        if request.url.path == self.path:
            return _json(
                {
                    "code": 0,
                    "message": "SUCCEED",
                    "data": self._page(request.url.params),
                }
            )
        wanted = request.url.path.rsplit("/", 1)[-1]
        job = self.jobs.get(wanted)
        if job is None and self.is_unique and not self.plan.traits.finds_theirs_only:
            job = next((one for one in self.jobs.values() if one.external_id == wanted), None)
        if job is None or self.clock.now - job.accepted_at < job.script.hidden_seconds:
            return self.unknown()
        return _json({"code": 0, "message": "SUCCEED", "request_id": "r", "data": self.record(job)})

    def _page(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
        """Newest first; a job comes into the list some time after it was made."""
        traits, number = self.plan.traits, int(params.get("pageNum", 1))
        size = min(int(params.get("pageSize", 30)), traits.page_size)
        listed = [
            job for job in self.jobs.values() if self.clock.now - job.accepted_at >= traits.list_lag
        ]
        return [self.record(job) for job in listed[::-1][(number - 1) * size : number * size]]

    def unknown(self) -> httpx.Response:
        return _json({"code": 1203, "message": "task not found", "request_id": "r"}, 404)

    def record(self, job: Job, status: str = "") -> dict[str, Any]:
        status = status or job.status(self.clock.now)
        words = {
            "queued": "submitted",
            "running": "processing",
            "success": "succeed",
            "fail": "failed",
        }
        videos = [
            {"id": "v", "url": f"http://{RESULTS_HOST}/out/{job.job_id}.mp4", "duration": "3.04"}
        ]
        made = (
            {"task_result": {"videos": videos}, "final_unit_deduction": "1.2"}
            if status == "success"
            else {}
        )
        return {
            "task_id": job.job_id,
            "task_status": words[status],
            "created_at": int(job.accepted_at * 1000),
            "updated_at": int(self.clock.now * 1000),
            "task_status_msg": "Failure to pass the risk control system"
            if status == "fail"
            else "",
            "task_info": {"external_task_id": job.external_id},
            **made,
        }

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return self.record(job, status)

    def intermediate(self, job: Job) -> list[str]:
        return ["queued", "running"]


class Relay(Kling):
    """docs/providers 5, family A: Kling's words passed through, our id a tag that nothing looks
    at."""

    name = "relay"
    host = "relay.gateway.test"
    path = "/kling/v1/videos/avatar/image2video"
    is_unique = False

    def unknown(self) -> httpx.Response:
        return _json({"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400)


class Comet(Relay):
    """docs/providers 4: an id of the gateway's own, while the callback comes from Kling itself and
    names Kling's."""

    name = "comet"
    host = "api.cometapi.com"

    def unknown(self) -> httpx.Response:
        error = {"code": "task_not_exist", "message": "task not found", "type": "comet_api_error"}
        return _json({"error": error}, 404)

    def known_as(self, job_id: str) -> Job | None:
        found = (job for job in self.jobs.values() if job_id in (job.job_id, upstream(job)))
        return next(found, None)

    def query(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.path.rsplit("/", 1)[-1]
        job = self.known_as(wanted)
        if job is None or (wanted != job.job_id and not self.plan.traits.finds_upstream_ids):
            return self.unknown()
        own = httpx.Request("GET", str(request.url).replace(wanted, job.job_id))
        return super().query(own)

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return {**self.record(job, status), "task_id": upstream(job)}


def upstream(job: Job) -> str:
    """What Kling calls a job that a gateway bought."""
    return str(int(job.job_id) + 7_000_000_000)


_DUPLICATES = {
    "named": (400, 1201, "external_task_id already exists"),
    "generic": (400, 1201, "Invalid request parameters"),
    "parallel": (429, 1303, "parallel task over resource pack limit"),
    "server": (500, 5000, "Server internal error"),
}
VENDORS = {"kie": Kie, "kling": Kling, "relay": Relay, "comet": Comet}
