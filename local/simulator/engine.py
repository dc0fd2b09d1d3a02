"""What is the same behind every provider: jobs advance with the clock, are rendered, charged and
told about."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from local.simulator.callbacks import Letter, Post
from local.simulator.clock import Clock
from local.simulator.contract import Contract, RefusalError
from local.simulator.faults import Faults, Subject
from local.simulator.jobs import ENDED, FAILED, PROCESSING, SUBMITTED, SUCCEEDED, Book, Job
from local.simulator.media import Library
from local.simulator.options import Options
from local.simulator.rendering import Renderer
from local.simulator.server import Response, html_response

LATE_REFUND_SECONDS = 6 * 3600.0
REFUSED_LATE_SECONDS = 90.0  # "accepted at create, failed 1-2 min later"
# The callback address in kie's examples: that name has an owner, who is not called.
EXAMPLE_CALLBACK = "https://your-domain.com/"
FORGED_LINK = "http://169.254.169.254/latest/meta-data/video.mp4"


class Engine:
    """The simulator without its listeners."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.book = Book(folder)
        kept = self.book.get("fact", "clock") or {}
        self.clock = Clock(
            kept.get("speed", options.speed), tuple(kept["anchor"]) if kept else None
        )
        if self.clock.speed != options.speed:
            self.clock.set_speed(options.speed)
        self._remember_clock()
        self.born = self.clock.now()
        self.faults = Faults(
            lambda all_: self.book.put("fact", "faults", all_),
            self.book.get("fact", "faults") or [],
        )
        self.library = Library(folder / "media")
        self.renderer = Renderer(folder / "videos", self.library, options.renderers)
        self.post = Post(self.book, self.clock, self._sign)
        self.callbacks = options.callbacks
        self.providers: dict[str, Contract] = {}
        self.addresses: Mapping[str, str] = {}  # where each listener is, from outside
        self._chance = random.Random(options.seed or None)

    def start(self) -> None:
        self.post.resume()
        for job in self.book.jobs():
            if job.status not in ENDED:
                self._schedule(job)
        self.clock.start()

    def stop(self) -> None:
        self.clock.stop()
        self.post.close()
        self.renderer.close()
        self.library.close()
        self.book.close()

    def set_speed(self, speed: float) -> None:
        self.clock.set_speed(speed)
        self._remember_clock()

    # A create comes in

    def receive(
        self, provider: Contract, subject: Subject, make: Callable[[], Response]
    ) -> Response:
        """`make` is the provider at work; around it is what can happen to a create. RefusalError:
        no job was made."""
        self.faults.see_create(subject)
        disturbed = self.disturb(provider, subject, "create", make)
        if disturbed:
            return disturbed
        if slow := self.faults.strike("slow_create", subject):
            time.sleep(slow["seconds"])
        if late := self.faults.strike("late_create", subject):
            self.clock.at(self.clock.now() + late["seconds"], lambda: _quietly(make))
            return provider.late()
        page = self.faults.strike("html", subject, at="create")
        if page and not page["accepted"]:
            return _page(page)
        answer = make()
        if page:
            return _page(page)
        if self.faults.strike("lost_answer", subject):
            answer.wire = "cut"
        elif self.faults.strike("truncated_answer", subject):
            answer.wire = "truncated"
        elif hang := self.faults.strike("hang", subject):
            answer.wire, answer.amount = "hang", hang["seconds"]
        return answer

    def disturb(
        self,
        provider: Contract,
        subject: Subject,
        place: str,
        make: Callable[[], Response] | None = None,
    ) -> Response | None:
        """Maintenance, throttling or, for a query, an HTML page in place of the answer."""
        if self.faults.strike("maintenance", subject, now=self.clock.now()):
            return provider.refuse(provider.closed)
        if throttled := self.faults.strike("throttle", subject, at=place):
            if throttled["made"] and make is not None:
                _quietly(make)
            return provider.refuse(throttled["code"] or provider.too_fast, throttled["message"])
        if place == "query" and (page := self.faults.strike("html", subject, at=place)):
            return _page(page)
        return None

    def accept(self, job: Job, usual_seconds: tuple[float, float]) -> None:
        """It is a job now; it takes so long, and so much longer for each second of its voice.

        An `error` that it already has is found out later.
        """
        provider = self.providers[job.provider]
        base, per_second = usual_seconds
        if self.options.job_seconds >= 0:
            base = self.options.job_seconds
        if self.options.job_seconds_per_second >= 0:
            per_second = self.options.job_seconds_per_second
        lasts = base + per_second * job.seconds
        lasts *= self._chance.lognormvariate(0.0, self.options.job_spread)
        lasts += self.options.queue_seconds * self.book.running(job.provider)
        job.updated = job.created
        self._afflict(job)
        lasts = min(lasts, REFUSED_LATE_SECONDS) if job.error else lasts
        job.processing_at = job.created + lasts / 50
        job.ends_at = None if job.flaw == "stuck" else job.created + lasts
        with self.book.together():
            if self._charged_at(provider) == "create":
                self._charge(job, job.created)
            self.book.save(job)
            self._forge(job, provider)
            self._tell(job)
        self._schedule(job)

    def _afflict(self, job: Job) -> None:
        """Faults that belong to the job are decided when it is made, so that they survive a
        restart."""
        if failed := self.faults.strike("failed", job.subject):
            job.error = self.providers[job.provider].failure(failed["reason"])
        elif not job.error and self._chance.random() < self.options.moderation:
            job.error = self.providers[job.provider].failure("moderation")
        for flaw in ("empty_result", "malformed_result"):
            if struck := self.faults.strike(flaw, job.subject):
                job.flaw, job.flaw_queries = flaw, struck["queries"]
        if self.faults.strike("stuck", job.subject):
            job.flaw = "stuck"
        if flash := self.faults.strike("flash", job.subject):
            job.look = f"flash {self._chance.randint(0, flash['surplus'])}"
        elif self.faults.strike("frozen", job.subject):
            job.look = "frozen"

    # A job lives

    def _schedule(self, job: Job) -> None:
        if job.status == SUBMITTED:
            self.clock.at(job.processing_at, lambda: self._begin(job))
        if job.ends_at is not None:
            self.clock.at(job.ends_at, lambda: self._end(job))
            if job.error is None:
                self.renderer.video(job)

    def _begin(self, job: Job) -> None:
        with self.book.together():
            if job.status == SUBMITTED:
                job.status, job.updated = PROCESSING, max(job.processing_at, job.created)
                if self._charged_at(self.providers[job.provider]) == "start":
                    self._charge(job, job.updated)
                self.book.save(job)
                self._tell(job)

    def _end(self, job: Job) -> None:
        if job.error is not None:
            self._settle(job, FAILED)
            return
        video = self.renderer.video(job)
        video.add_done_callback(lambda done: self._rendered(job, done))

    def _rendered(self, job: Job, video: Future[str]) -> None:
        if video.cancelled():
            return
        if video.exception() is None:
            job.video = video.result()
        else:
            job.error = self.providers[job.provider].failure("internal")
        self._settle(job, FAILED if job.error else SUCCEEDED)

    def _settle(self, job: Job, status: str) -> None:
        self._begin(job)
        provider = self.providers[job.provider]
        with self.book.together():
            if job.status in ENDED:
                return
            planned = job.ends_at or 0.0
            # What ended while the simulator was down ended when it should have.
            job.ended = job.updated = planned if planned < self.born else self.clock.now()
            if status == SUCCEEDED:
                job.link = provider.new_link(job)
                self.publish(
                    job.link, f"videos/{job.video}", "video/mp4", provider.link_hours, job.id
                )
                self._charge(job, job.ended)
            elif job.charged:
                self._refund(job, job.ended)
            # Last: queries read the job without waiting for us, and one that ended has its link.
            job.status = status
            self.book.save(job)
            self._tell(job)

    # Money

    def _charged_at(self, provider: Contract) -> str:
        usual = "create" if provider.prepaid else "end"
        return usual if self.options.charge_at == "usual" else self.options.charge_at

    def _charge(self, job: Job, at: float) -> None:
        """Once for each job, whatever the moment."""
        if not job.charged:
            job.charged = True
            self.book.charge(job, at, job.price)

    def _refund(self, job: Job, at: float) -> None:
        kept = job.provider.startswith("relay") and self.options.relay_charges_failures
        share = {"none": 0.0, "partial": 0.5}.get(self.options.refunds, 1.0)
        if kept or not share:
            return
        late = LATE_REFUND_SECONDS if self.options.refunds == "late" else 0.0
        amount = -job.price * share
        if not late:
            self.book.charge(job, at, amount, "refund")
            return
        self.clock.at(at + late, lambda: self.book.charge(job, at + late, amount, "refund"))

    # Callbacks and queries

    def _tell(self, job: Job) -> None:
        body = self.providers[job.provider].notice(job)
        if (
            body is None
            or not self.callbacks
            or not job.callback_url
            or job.callback_url.startswith(EXAMPLE_CALLBACK)
        ):
            return
        if self.faults.strike("callback_missing", job.subject):
            return
        due = self.clock.now()
        if late := self.faults.strike("callback_late", job.subject):
            due += late["seconds"]
        if job.status not in ENDED and self.faults.strike("callback_reordered", job.subject):
            job.held_back.append(body)
            self.book.save(job)
            return
        doubled = self.faults.strike("callback_duplicate", job.subject)
        for _ in range(doubled["times"] if doubled else 1):
            self.post.send(job, body, due)
        if job.status in ENDED:
            for late_body in job.held_back:
                self.post.send(job, late_body, due + 5.0)

    def _forge(self, job: Job, provider: Contract) -> None:
        """A forged callback: its sender knows the address, or nearly."""
        forged = self.faults.strike("callback_forged", job.subject)
        if not forged or not job.callback_url or job.callback_url.startswith(EXAMPLE_CALLBACK):
            return
        false = dataclasses.replace(job, status=SUCCEEDED, ended=job.created + 1, link=FORGED_LINK)
        address = job.callback_url
        if forged["as"] == "other_job":
            false.id = false.upstream_id = provider.new_id()
        elif forged["as"] == "wrong_address":
            address = address[:-1] + ("A" if address[-1] != "A" else "B")
        body = provider.notice(false)
        if body is not None:
            self.post.send(job, body, job.processing_at, genuine=False, url=address)

    def find(self, provider: str, job_id: str, by_external_id: bool = False) -> Job | None:
        """The job as a query finds it; a fault can hide a young one."""
        job = self.book.job(provider, job_id)
        if job is None and by_external_id:
            job = self.book.by_external_id(provider, job_id)
        if job and self.clock.now() - job.created > self.options.record_days * 86_400:
            return None
        if job and self.faults.strike("not_found", job.subject, age=self.clock.now() - job.created):
            return None
        return job

    def word(self, job: Job) -> str | None:
        """An undocumented status word, if a fault wants one for this running job."""
        odd = None if job.status in ENDED else self.faults.strike("unknown_status", job.subject)
        return str(odd["word"]) if odd else None

    def flaw(self, job: Job, *, by_query: bool = True) -> str:
        """empty_result or malformed_result, if the answer about this job shall have it."""
        if job.status != SUCCEEDED or job.flaw_queries == 0:
            return ""
        if by_query and job.flaw and job.flaw_queries is not None:
            job.flaw_queries -= 1
            self.book.save(job)
        return job.flaw

    def publish(self, path: str, file: str, kind: str, hours: float, job_id: str = "") -> str:
        """Put a file of our folder on the results listener for so long; gives its URL."""
        dies = self.clock.now() + hours * 3600
        self.book.put("link", path, {"file": file, "type": kind, "job_id": job_id, "dies": dies})
        return self.url(path)

    def url(self, link: str) -> str:
        return link if "://" in link else self.addresses["results"] + link

    def _sign(self, letter: Letter) -> dict[str, str]:
        return self.providers[letter.provider].signature(letter)

    def _remember_clock(self) -> None:
        self.book.put("fact", "clock", {"speed": self.clock.speed, "anchor": self.clock.anchor})


def _page(page: dict[str, Any]) -> Response:
    titles = {502: "502 Bad Gateway", 524: "524: A timeout occurred"}
    return html_response(page["status"], titles.get(page["status"], f"Error {page['status']}"))


def _quietly(make: Callable[[], Response]) -> None:
    """The client of a late create is gone; a refusal reaches it no more."""
    try:
        make()
    except RefusalError:
        return
