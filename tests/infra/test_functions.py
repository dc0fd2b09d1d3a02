"""The Lambdas: how they run, which settings they get, what feeds them and where failures end."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest

from functions.settings import Options, Settings
from infra import grants
from infra.context import Context
from infra.fleet import fleet
from tests.infra.template import Json, Template

FUNCTIONS = Path(__file__).parents[2] / "functions"
FLEET = fleet(Options())
NAMES = tuple(FLEET)


def test_every_lambda_is_one_of_ours_and_runs_a_handler_that_exists(template: Template) -> None:
    assert set(template.functions()) == set(NAMES)
    for name, function in template.functions().items():
        assert function["Handler"] == f"functions.handlers.{name}.handler"
        tree = ast.parse((FUNCTIONS / f"handlers/{name}.py").read_text())
        assert "handler" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMES)
def test_a_lambda_has_the_house_defaults(template: Template, name: str) -> None:
    function = template.functions()[name]
    assert function["Architectures"] == ["arm64"]
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Timeout"] == FLEET[name].seconds
    assert function["MemorySize"] == FLEET[name].memory_mib >= 512
    log_group = template.text(function["LoggingConfig"]["LogGroup"])
    assert log_group == f"{name.capitalize()}Logs"
    assert template.of_type("AWS::Logs::LogGroup")[log_group]["RetentionInDays"] == 60
    variables = function["Environment"]["Variables"]
    assert variables["POWERTOOLS_SERVICE_NAME"] == name
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Talkdrop"
    assert "POWERTOOLS_LOGGER_LOG_EVENT" not in variables


def test_two_functions_may_send_to_the_queue_they_are_fed_by(template: Template) -> None:
    """They must: Lambda would end a task's waiting for its turn, and the way through a large
    folder, after 16 rounds."""
    loops = {name: function.get("RecursiveLoop") for name, function in template.functions().items()}
    assert loops == {name: "Allow" if name in ("submit", "intake") else None for name in NAMES}


def test_all_lambdas_run_one_bundle_and_those_that_decode_and_join_the_one_with_pyav(
    template: Template,
) -> None:
    code = {
        name: json.dumps(one["Code"], sort_keys=True) for name, one in template.functions().items()
    }
    with_pyav = {name for name in NAMES if code[name] == code["join"]}
    assert with_pyav == {name for name in NAMES if FLEET[name].has_pyav} == {"cut", "join"}
    assert len(set(code.values())) == 2


def test_what_decodes_and_joins_has_the_disk_for_it(template: Template) -> None:
    disks = {
        name: one.get("EphemeralStorage", {}).get("Size", 512)
        for name, one in template.functions().items()
    }
    assert {name: disk for name, disk in disks.items() if disk != 512} == {
        "cut": 1024,  # a voice of 128 MB at most
        "join": 10_240,  # all pieces and the joined video
    }


def test_the_stack_sets_exactly_the_settings_that_the_functions_know(
    template: Template, with_summary: Template
) -> None:
    variables: set[str] = set()
    for function in [*template.functions().values(), *with_summary.functions().values()]:
        variables |= {
            name for name in function["Environment"]["Variables"] if name.startswith("TALKDROP_")
        }
    assert variables == {f"TALKDROP_{field.name.upper()}" for field in dataclasses.fields(Settings)}


def test_a_provider_key_is_named_to_no_function_that_may_not_read_it(template: Template) -> None:
    for name, function in template.functions().items():
        variables = function["Environment"]["Variables"]
        assert ("TALKDROP_PROVIDER_SECRETS" in variables) == (name in {"submit", "watch"})
        assert ("TALKDROP_CALLBACK_SECRET" in variables) == (name in {"submit", "callback"})


def test_the_options_of_the_context_reach_the_functions(for_trying: Template) -> None:
    for function in for_trying.functions().values():
        variables = function["Environment"]["Variables"]
        assert Options.parse(variables["TALKDROP_OPTIONS"]) == Options(
            sweep_minutes=10,
            drop_delay_seconds=0,
            providers=("comet", "kie", "kling", "relay"),
        )
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Talkdrop-dev"
    assert for_trying.functions()["submit"]["Environment"]["Variables"][
        "TALKDROP_CALLBACK_BASE_URL"
    ] == ("https://callbacks.example.com")


def test_times_fit_into_each_other(template: Template) -> None:
    seconds = {name: function["Timeout"] for name, function in template.functions().items()}
    assert (
        90 + 15 <= seconds["submit"] < Options().lease_seconds
    )  # the POST, and not beyond the lease
    assert seconds["api"] < 30  # what the HTTP API waits
    assert seconds["callback"] <= 15  # what kie waits
    assert seconds["archive"] == 900
    assert seconds["sweep"] < Options().sweep_minutes * 60
    queues = template.of_type("AWS::SQS::Queue")
    assert queues["Uploads"]["VisibilityTimeout"] >= 6 * seconds["intake"]
    assert queues["Submissions"]["VisibilityTimeout"] >= 6 * seconds["submit"]


def test_every_queue_is_encrypted_spoken_to_by_tls_and_ends_in_dead_letters(
    template: Template,
) -> None:
    queues = template.of_type("AWS::SQS::Queue")
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True
        (policy,) = [
            one
            for one in template.of_type("AWS::SQS::QueuePolicy").values()
            if name in {template.text(queue) for queue in one["Queues"]}
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [
            one["Condition"]
            for one in policy["PolicyDocument"]["Statement"]
            if one["Effect"] == "Deny"
        ]
    for name in ("Uploads", "Submissions"):
        redrive = queues[name]["RedrivePolicy"]
        assert redrive["maxReceiveCount"] == 5
        assert template.text(redrive["deadLetterTargetArn"]) == f"{name}DeadLetters"
    for name in ("Uploads", "Submissions", "Announcements", "Sweep"):
        assert queues[f"{name}DeadLetters"]["MessageRetentionPeriod"] == 14 * 86400


def test_a_drop_waits_a_little_so_that_files_dropped_together_are_seen_together(
    template: Template, for_trying: Template
) -> None:
    assert (
        template.of_type("AWS::SQS::Queue")["Uploads"]["DelaySeconds"]
        == Options().drop_delay_seconds
    )
    assert not for_trying.of_type("AWS::SQS::Queue")["Uploads"].get("DelaySeconds")


def test_one_bad_message_does_not_bring_back_the_good_ones(template: Template) -> None:
    for source in template.of_type("AWS::Lambda::EventSourceMapping").values():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_crash_leaves_one_payment_in_doubt_and_a_flood_takes_not_every_lambda(
    template: Template,
) -> None:
    submissions, uploads = fed_by(template, "Submissions"), fed_by(template, "Uploads")
    assert submissions["BatchSize"] == uploads["BatchSize"] == 1
    assert submissions["ScalingConfig"] == {"MaximumConcurrency": 10}
    assert uploads["ScalingConfig"] == {"MaximumConcurrency": 20}


@pytest.mark.parametrize(
    ("quota", "intake", "submit", "callback"),
    [(None, 20, 10, None), (10, 2, 2, None), (100, 20, 10, None), (1000, 20, 10, 50)],
)
def test_a_small_account_is_not_used_up_and_a_large_one_keeps_a_share_for_callbacks(
    quota: int | None, intake: int, submit: int, callback: int | None
) -> None:
    context = Context(lambda_quota=quota)
    assert (context.concurrency_of("intake"), context.concurrency_of("submit")) == (intake, submit)
    assert context.reserved_for("callback") == callback
    assert {context.reserved_for(name) for name in NAMES if name != "callback"} == {None}


def test_the_reserved_share_is_deployed(template: Template, for_trying: Template) -> None:
    reserved = "ReservedConcurrentExecutions"
    assert for_trying.functions()["callback"][reserved] == 50
    assert not [one for one in template.functions().values() if reserved in one]


def test_a_poisoned_row_neither_blocks_the_stream_nor_is_lost(template: Template) -> None:
    stream = fed_by(template, "Tasks")
    assert stream["BisectBatchOnFunctionError"] is True
    assert stream["MaximumRetryAttempts"] > 0
    assert stream["MaximumRecordAgeInSeconds"] < 86400  # the stream forgets then
    assert (
        template.text(stream["DestinationConfig"]["OnFailure"]["Destination"])
        == "AnnouncementsDeadLetters"
    )


def test_only_writes_of_tasks_that_are_news_invoke_announce(template: Template) -> None:
    (pattern,) = [
        json.loads(one["Pattern"]) for one in fed_by(template, "Tasks")["FilterCriteria"]["Filters"]
    ]
    assert pattern == {"dynamodb": {"NewImage": {"news": {"S": ["yes"]}}}}


def test_every_new_object_is_an_upload_but_for_what_we_put_there_ourselves(
    template: Template,
) -> None:
    rule = template.of_type("AWS::Events::Rule")["Dropped"]
    pattern = rule["EventPattern"]
    assert (pattern["source"], pattern["detail-type"]) == (["aws.s3"], ["Object Created"])
    assert "reason" not in pattern["detail"]  # put, post, copy and multipart are all the same to us
    assert [template.text(name) for name in pattern["detail"]["bucket"]["name"]] == ["Inbox"]
    assert pattern["detail"]["object"]["key"] == [
        {"anything-but": {"wildcard": [f"{grants.OWN_IMPORTS}*", f"*{grants.ERROR_NOTES}"]}}
    ]


def test_every_target_of_a_rule_has_dead_letters_and_says_how_long_it_tries(
    template: Template,
) -> None:
    targets = {
        name: target
        for name, rule in template.of_type("AWS::Events::Rule").items()
        for target in rule["Targets"]
    }
    assert {
        name: template.text(one["DeadLetterConfig"]["Arn"]) for name, one in targets.items()
    } == {
        "Dropped": "UploadsDeadLetters",
        "SweepClock": "SweepDeadLetters",
    }
    assert targets["Dropped"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 86400,
        "MaximumRetryAttempts": 185,
    }
    assert "RetryPolicy" in targets["SweepClock"]


def test_the_sweep_runs_on_its_clock(template: Template, for_trying: Template) -> None:
    assert (
        template.of_type("AWS::Events::Rule")["SweepClock"]["ScheduleExpression"]
        == "rate(5 minutes)"
    )
    assert (
        for_trying.of_type("AWS::Events::Rule")["SweepClock"]["ScheduleExpression"]
        == "rate(10 minutes)"
    )


def fed_by(template: Template, source: str) -> Json:
    sources = template.of_type("AWS::Lambda::EventSourceMapping").values()
    (found,) = [one for one in sources if template.text(one["EventSourceArn"]) == source]
    return found
