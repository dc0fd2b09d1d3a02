"""The promise against providers that are less kind than their documentation. The whole of it:
`python -m tests.faults unkind --runs 1000` (docs/reliability.md)."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import pytest

from tests.faults import season, series
from tests.faults.clockwork import START, Fault
from tests.faults.plans import Harsh, Plan, Rates, Script
from tests.faults.runs import Run, Scene
from tests.faults.traits import HOUR, Traits
from tests.faults.unkind_scenes import LOST, Came, Scripted, decide, decisions, play

# A worker of pytest-xdist plays by itself: the tests are what is shared out.
PROCESSES = 1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 2


def _came_to(came: Came, **statuses: int) -> None:
    assert came.result.broke is None, came.result.broke
    assert came.statuses == statuses, came.codes


@pytest.mark.parametrize("profile", series.PROFILES)
def test_unkind_providers_and_persons_cost_no_second_charge_and_nothing_is_silent(
    profile: str,
) -> None:
    tally = series.play(profile, series.unkinds(profile, 30, 0), PROCESSES)
    assert tally.runs == 30
    assert not tally.broken, "\n".join(tally.shown[:5])


@pytest.mark.parametrize(
    "traits",
    [
        Traits(),
        Traits(charged_at="create"),
        Traits(charged_at="start", refunds="late"),
        Traits(charged_at="create", balance="cached"),
        Traits(balance="rounded"),
        Traits(balance="shared"),
    ],
    ids=lambda traits: f"{traits.charged_at}-{traits.balance}-{traits.refunds}",
)
@pytest.mark.parametrize("hours", [2.2, 5, 8])
def test_no_balance_of_kie_proves_that_a_lost_submit_was_not_paid(
    traits: Traits, hours: float
) -> None:
    came = play("kie", Scripted([Script(seconds=hours * HOUR)], paid=LOST, traits=traits))
    assert came.result.broke is None
    assert came.posts == 1


@pytest.mark.parametrize("profile", series.PROFILES)
def test_jobs_of_two_to_eight_hours_are_paid_once_each(profile: str) -> None:
    scripts = [Script(seconds=hours * HOUR) for hours in (2.2, 3, 5, 8)]
    came = play(profile, Scripted(scripts), ("files", "api", "voice-first", "api"))
    _came_to(came, COMPLETED=4)
    assert came.jobs == 4


def test_a_refusal_that_made_a_job_is_not_followed_by_another_while_its_callback_is_open() -> None:
    """kie says 455 and makes the job, and cannot be asked as it calls back."""
    down = Traits(lookups_down=(0.0, 300.0))
    came = play("kie", Scripted([Script(seconds=20)], refusals=["sure"], traits=down))
    _came_to(came, COMPLETED=1)
    assert came.jobs == 1


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_server_error_that_made_a_job_is_a_doubt_and_its_callback_brings_the_video(
    profile: str,
) -> None:
    came = play(profile, Scripted(refusals=["doubtful"]))
    _came_to(came, COMPLETED=1)
    assert came.jobs == 1


@pytest.mark.parametrize("profile", ["kie", "relay"])
def test_a_server_error_that_made_a_job_without_a_callback_is_held(profile: str) -> None:
    lost = Traits(callbacks_lost=True)
    came = play(profile, Scripted(refusals=["doubtful"], traits=lost))
    _came_to(came, HELD=1)
    assert (came.jobs, came.codes) == (1, ["AMBIGUOUS"])


@pytest.mark.parametrize("words", ["named", "generic", "parallel", "server"])
@pytest.mark.parametrize("twice", [False, True])
def test_kling_is_not_sent_the_same_id_again_unless_an_option_says_so(
    words: str, twice: bool
) -> None:
    traits = Traits(
        takes_ids_twice=twice,
        duplicate_words=words,
        finds_theirs_only=True,
        list_lag=72 * HOUR,
        callbacks_lost=True,
    )
    came = play("kling", Scripted(paid=LOST, traits=traits))
    _came_to(came, HELD=1)
    assert came.posts == 1


@pytest.mark.parametrize("words", ["named", "generic", "parallel", "server"])
def test_resends_of_kling_are_counted_and_end_in_held(words: str) -> None:
    """The first POST, two more, and HELD in time counted from the first, as the invariants say."""
    traits = Traits(
        duplicate_words=words, finds_theirs_only=True, list_lag=72 * HOUR, callbacks_lost=True
    )
    plan = Scripted(paid=LOST, traits=traits)
    came = play("kling", plan, extras={"resend_same_id": True})
    _came_to(came, HELD=1)
    assert (came.jobs, came.posts) == (1, 3)


def test_a_resend_is_not_begun_after_the_hours_of_the_first_doubt() -> None:
    """Every lookup is down until then: nothing was known in time, so a person decides."""
    down = Traits(lookups_down=(0.0, 5 * HOUR), finds_theirs_only=True, callbacks_lost=True)
    came = play("kling", Scripted(paid=LOST, traits=down), extras={"resend_same_id": True})
    _came_to(came, HELD=1)
    assert (came.posts, came.codes) == (1, ["AMBIGUOUS"])


@pytest.mark.parametrize("what", ["crash-before", "crash-after", "error-after", "late"])
@pytest.mark.parametrize("speech_seconds", [0.0, 20.0])
def test_one_speech_is_bought_for_a_task_whatever_call_of_its_submit_fails(
    what: str, speech_seconds: float
) -> None:
    traits = Traits(speech_seconds=speech_seconds)
    base = Scripted(traits=traits)
    _came_to(play("kling", base, ("text",)), COMPLETED=1)
    calls = [at for at, site in enumerate(base.sites, 1) if site.startswith("submit: ")]
    assert sum("POST" in base.sites[at - 1] for at in calls) == 2
    for at in calls:
        came = play("kling", Scripted(traits=traits, calls={at: Fault(what, 30.0)}), ("text",))
        assert came.result.broke is None, (base.sites[at - 1], came.result.broke)
        assert set(came.statuses) <= {"COMPLETED", "HELD"}, came.codes
        assert came.speeches == 1 or came.codes == ["SPEECH_LOST"]


def test_a_lost_submit_is_found_on_a_later_page_of_kling_and_not_sent_again() -> None:
    traits = Traits(takes_ids_twice=True, finds_theirs_only=True, page_size=2, callbacks_lost=True)
    plan = Scripted(paid=LOST, traits=traits)
    came = play("kling", plan, ("files", *("api",) * 5), extras={"resend_same_id": True})
    assert came.result.broke is None
    assert came.jobs == 6


EVERYBODY = (*series.PROFILES, "comet")


@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_second_job_of_one_attempt_is_announced(profile: str) -> None:
    """The rule stands in the invariants: both called back, so an event names the second."""
    came = play(profile, Scripted([Script(has_twin=True)]))
    _came_to(came, COMPLETED=1)


@pytest.mark.parametrize("skews", [(0.0,), (120.0, -120.0), (-120.0, 120.0)])
@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_second_job_that_called_back_before_it_could_be_found_is_announced(
    profile: str, skews: tuple[float, ...]
) -> None:
    """Its task is completed before anybody could look into the callback."""
    came = play(profile, Scripted([Script(20, hidden_seconds=110, has_twin=True)], skews=skews))
    _came_to(came, COMPLETED=1)


@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_second_job_is_announced_by_a_bus_that_refuses_longer_than_the_stream_repeats(
    profile: str,
) -> None:
    plan = Scripted([Script(20, has_twin=True)], bus_refuses=(30.0, 2 * HOUR))
    _came_to(play(profile, plan), COMPLETED=1)


@pytest.mark.parametrize("upstream", [True, False])
@pytest.mark.parametrize("faults", [{}, {"paid": LOST}, {"refusals": ["doubtful"]}])
def test_the_vendors_own_id_in_a_gateways_callback_is_no_second_job(
    upstream: bool, faults: dict[str, Any]
) -> None:
    """The rule stands in the invariants: an event that names a second job is a fact."""
    came = play("comet", Scripted(traits=Traits(finds_upstream_ids=upstream), **faults))
    is_found = upstream or not faults
    _came_to(came, **{"COMPLETED" if is_found else "HELD": 1})


@pytest.mark.parametrize("serves", ["video", "page"])
@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_job_beside_a_sure_refusal_is_booked_as_soon_as_it_is_known(
    profile: str, serves: str
) -> None:
    """Whatever becomes of its video: the budget adds up while the task is HELD too."""
    plan = Scripted([Script(serves=serves)], refusals=["sure"])
    came = play(profile, plan, cap_usd=Decimal(5))
    _came_to(came, **{"COMPLETED" if serves == "video" else "HELD": 1})
    assert came.jobs == 1


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_task_that_was_returned_unsent_and_then_cancelled_owes_nothing(profile: str) -> None:
    def cancelled(run: Run) -> None:
        decide(run, 300.0, lambda task: decisions().cancel(task, "p", "not wanted any more"))

    plan = Scripted(outages=(0.0, HOUR, "maintenance"))
    came = play(profile, plan, cap_usd=Decimal(5), then=cancelled)
    _came_to(came, CANCELLED=1)
    assert came.jobs == 0


@pytest.mark.parametrize("serves", ["nothing", "page"])
def test_a_link_that_never_serves_the_video_is_held_within_a_day(serves: str) -> None:
    came = play("kie", Scripted([Script(serves=serves)]))
    _came_to(came, HELD=1)
    assert came.codes[0] in {"NOT_A_VIDEO", "ARCHIVE_STUCK"}


def test_a_success_that_later_says_failed_is_held() -> None:
    came = play("kie", Scripted([Script(serves="nothing", fails_after=HOUR)]))
    _came_to(came, HELD=1)
    assert came.codes == ["FAILED_AFTER_SUCCESS"]


@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_job_that_runs_again_after_it_was_done_is_archived_when_it_is_done(profile: str) -> None:
    came = play(profile, Scripted([Script(20, dead_links=2, wavers_seconds=2 * HOUR)]))
    _came_to(came, COMPLETED=1)
    assert came.jobs == 1


@pytest.mark.parametrize("profile", EVERYBODY)
def test_a_job_that_the_provider_forgets_before_its_video_came_is_held(profile: str) -> None:
    came = play(profile, Scripted([Script(20, serves="nothing", forgotten_after=60)]))
    _came_to(came, HELD=1)
    assert came.codes == ["ARCHIVE_STUCK"]


@pytest.mark.parametrize(
    ("profile", "status"), [("kie", "HELD"), ("kling", "COMPLETED"), ("relay", "COMPLETED")]
)
def test_a_lost_answer_is_held_where_no_record_says_whose_a_job_is(
    profile: str, status: str
) -> None:
    """Kling still finds it by our id; a relay is asked about the job that its callback names."""
    came = play(profile, Scripted(paid=LOST, traits=Traits(records_omit="proof")))
    _came_to(came, **{status: 1})
    assert (came.posts, came.jobs) == (1, 1)


REPEATING = ("kie", "relay")  # Kling finds the refused job by our id before anything is sent again


@pytest.mark.parametrize(("outcome", "status"), [("success", "HELD"), ("fail", "FAILED")])
@pytest.mark.parametrize("profile", REPEATING)
def test_a_job_that_fails_beside_one_that_a_lying_refusal_made_is_held(
    profile: str, outcome: str, status: str
) -> None:
    """Unless that one failed too."""
    scripts = [Script(700, outcome), Script(900, "fail")]
    came = play(profile, Scripted(scripts, refusals=["sure"]))
    _came_to(came, **{status: 1})
    assert came.jobs == 2
    assert (came.codes == ["ANOTHER_JOB"]) == (status == "HELD")


@pytest.mark.parametrize("profile", REPEATING)
def test_the_job_that_a_lying_refusal_made_can_be_adopted_after_the_other_failed(
    profile: str,
) -> None:
    def adopted(run: Run) -> None:
        run.goes_on_until = START + 5000.0

        def adopt(task: Any) -> None:
            first = next(iter(run.vendor.jobs))
            decisions().adopt(task, first, "p", "it has the video")

        decide(run, 4000.0, adopt)

    scripts = [Script(900), Script(30, "fail")]  # FAILED before the first calls back
    came = play(profile, Scripted(scripts, refusals=["sure"]), cap_usd=Decimal(5), then=adopted)
    _came_to(came, COMPLETED=1)
    assert (came.posts, came.jobs) == (2, 2)


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_doubt_that_cannot_be_looked_into_for_hours_is_held_in_time(profile: str) -> None:
    down = Traits(lookups_down=(0.0, 60 * HOUR), callbacks_lost=True)
    came = play(profile, Scripted(paid=LOST, traits=down))
    _came_to(came, HELD=1)
    assert came.posts == 1


@pytest.mark.parametrize("profile", ["kie", "relay"])
def test_nine_forged_callbacks_do_not_crowd_out_the_genuine_one(profile: str) -> None:
    forged = [5.0 + number for number in range(9)]
    came = play(profile, Scripted(paid=LOST, forged=forged))
    _came_to(came, COMPLETED=1)
    assert came.jobs == 1


@pytest.mark.parametrize("profile", series.PROFILES)
def test_what_is_cancelled_while_all_else_goes_wrong_is_never_paid_then(profile: str) -> None:
    tally = series.play(profile, series.cancels(profile, 20, 0), PROCESSES)
    assert not tally.broken, tally.shown
    assert tally.statuses["CANCELLED"] > 5


def test_a_task_cancelled_at_any_moment_is_paid_or_cancelled_and_never_both() -> None:
    def cancelled(run: Run) -> None:
        for number in range(12):
            wait = 2.0 + number / 4 + moment
            decide(run, wait, lambda task: decisions().cancel(task, "p", "not wanted any more"))

    came_to = set()
    for seed in range(16):
        moment = seed / 64
        came = play("kie", Scripted(seed=seed), then=cancelled)
        assert came.result.broke is None
        assert came.jobs == came.statuses.get("COMPLETED", 0)
        came_to |= set(came.statuses)
    assert came_to <= {"CANCELLED", "COMPLETED"}


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_job_named_for_an_ended_task_has_an_answer_once_the_provider_can_be_queried(
    profile: str,
) -> None:
    def named(run: Run) -> None:
        def adopt(task: Any) -> None:
            decisions().adopt(task, task.job_id, "p", "look again")

        decide(run, 1800.0, adopt)

    plan = Scripted([Script(outcome="fail")], traits=Traits(lookups_down=(1200.0, 3 * HOUR)))
    _came_to(play(profile, plan, then=named), FAILED=1)


def test_a_callback_by_an_id_that_the_gateway_does_not_know_stops_a_refused_task() -> None:
    """CometAPI refuses in sure words, makes the job, and Kling calls back by an id of its own."""
    plan = Scripted(refusals=["sure"], traits=Traits(finds_upstream_ids=False))
    came = play("comet", plan)
    _came_to(came, HELD=1)
    assert (came.posts, came.codes) == (1, ["AMBIGUOUS"])


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_year_of_lifecycle_and_time_to_live_pays_nothing_and_leaves_every_video(
    profile: str,
) -> None:
    for seed in range(4):
        plan = Harsh(seed, Rates(calm_after=1800))
        run = Run(Scene(profile, ("files", "api", "voice-first")), plan, seed)
        result = run.play(after=season.pass_over)
        assert result.broke is None
        assert result.charges >= 1


@pytest.mark.parametrize("doors", [("long",), ("long", "files")])
def test_a_year_takes_the_pieces_of_a_long_voice_and_not_its_video(doors: tuple[str, ...]) -> None:
    result = Run(Scene("kie", doors), Plan(1), seed=1).play(after=season.pass_over)
    assert result.broke is None
    assert result.statuses == {}  # their rows went in their time
