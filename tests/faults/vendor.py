"""What all the providers share: a billing ledger, what they accept, when a job ends, whom they call
back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, ClassVar

import httpx

from tests.faults.account import API_KEY, DOOR, Account
from tests.faults.clockwork import START, Broke
from tests.faults.jobs import Job
from tests.faults.wires import presigned

UPLOADS_HOST = "kieai.redpandaai.co"


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
        self.speeches: list[tuple[str, float]] = []  # the text, and when it was bought
        self.queries = 0
        self.posts = 0
        self.balance = 100_000.0
        self.downloads: dict[str, int] = {}
        self.callbacks_sent: list[tuple[str, dict[str, str], str]] = []
        self.most_a_window = 20
        self.repeats_its_job = False
        self.denies = False
        self.key = API_KEY
        self._recent: list[float] = []
        self._cached: dict[int, float] = {}

    # The wire.

    def serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != self.host:
            raise httpx.ConnectError("no such host", request=request)
        if request.headers.get("authorization") != f"Bearer {self.key}":
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
        newest = next(job for job in reversed(self.jobs.values()) if not job.is_twin)
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

    def turn_to(self, key: str) -> None:
        """The account's owner made another key; the old one is refused."""
        self.key = key

    @property
    def hides_its_callbacks_jobs(self) -> bool:
        """Of the jobs that callbacks name, no query ever proves whose they are."""
        return bool(self.plan.traits.records_omit == "proof")

    @property
    def proves_by_address(self) -> bool:
        """Nothing but the callback's address says whose a job is."""
        return False

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
        if any(self._is_dead(url) for url in media):
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

    def _is_dead(self, media: str) -> bool:
        if not media.startswith("http") or UPLOADS_HOST in media:
            return False  # it came with the request, or before it
        return presigned(media).status_code != 200 or self.plan.link_is_dead()

    def _owner(self, callback_url: str, external_id: str, portrait: str) -> tuple[str, int]:
        """For whom this is: for the ledger only. The provider itself could not tell."""
        if callback_url:
            parts = callback_url.removeprefix(DOOR).strip("/").split("/")
            return parts[2], int(parts[3])
        if UPLOADS_HOST in portrait:
            external_id = httpx.URL(portrait).path.split("/")[2]
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
        if forged != "mac" and self.proves_by_address:
            return  # then that the address is nobody else's is what the promise rests on
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


def as_json(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(
        status, headers={"content-type": "application/json"}, content=json.dumps(body).encode()
    )
