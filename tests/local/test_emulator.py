"""Each patch of the emulator: the gap is there as it comes, and closed as we run it.

When one of these fails for `stock`, the emulator has mended the gap itself: delete the patch and
its test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import cloud
from local.aws.cloud import ACCOUNT, REGION, Cloud
from tests.local import probe

WAIT_FOR_TOKEN = "arn:aws:states:::lambda:invoke.waitForTaskToken"
QUEUE_AND_WAIT = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"


def check(
    observe: Callable[[Cloud], Any],
    stock: Cloud,
    patched: Cloud,
    *,
    as_it_comes: Any,
    as_on_aws: Any,
) -> None:
    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(observe, (stock, patched)))
    assert seen == [as_it_comes, as_on_aws]


def test_a_burst_does_not_start_a_process_for_each_invocation(stock: Cloud, patched: Cloud) -> None:
    source = (
        "import os, time\ndef handler(event, context):\n    time.sleep(0.5)\n    return "
        "os.getpid()\n"
    )

    def observe(cloud: Cloud) -> bool:
        name = probe.function(cloud, source)
        client = cloud.client("lambda")
        with ThreadPoolExecutor(6) as pool:
            answers = list(
                pool.map(lambda _: json.load(client.invoke(FunctionName=name)["Payload"]), range(6))
            )
        return len(set(answers)) <= 2

    check(observe, stock, patched, as_it_comes=False, as_on_aws=True)


def test_a_streams_record_that_failed_comes_again(stock: Cloud, patched: Cloud) -> None:
    source = """
import os
def handler(event, context):
    path = os.environ["HOME"] + "/stream"
    keys = [one["dynamodb"]["Keys"]["pk"]["S"] for one in event["Records"]]
    with open(path, "a") as diary:
        diary.write("".join(key + "\\n" for key in keys))
    first = open(path).read().split().count("poison") == 1
    poisoned = [one for one, key in zip(event["Records"], keys) if key == "poison" and first]
    bad = [one["dynamodb"]["SequenceNumber"] for one in poisoned]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in bad]}
"""

    def observe(cloud: Cloud) -> int:
        dynamodb = cloud.client("dynamodb")
        table = probe.unique("table")
        stream = probe.streamed_table(cloud, table)
        cloud.client("lambda").create_event_source_mapping(
            FunctionName=probe.function(cloud, source),
            EventSourceArn=stream,
            StartingPosition="TRIM_HORIZON",
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "poison"}})
        probe.until(lambda: "poison" in probe.diary(cloud, "stream"))
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "after"}})
        probe.until(lambda: "after" in probe.diary(cloud, "stream"))
        return probe.diary(cloud, "stream").count("poison")

    check(observe, stock, patched, as_it_comes=1, as_on_aws=2)


def test_starting_a_running_execution_again_answers_the_same_one(
    stock: Cloud, patched: Cloud
) -> None:
    def observe(cloud: Cloud) -> str:
        machine = probe.machine(cloud, {"Type": "Wait", "Seconds": 60})
        client = cloud.client("stepfunctions")
        first = client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
        try:
            second = client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "the same" if second["executionArn"] == first["executionArn"] else "another"

    check(observe, stock, patched, as_it_comes="ExecutionAlreadyExists", as_on_aws="the same")


def test_a_finished_execution_is_not_started_again_under_its_name(patched: Cloud) -> None:
    machine = probe.machine(patched, {"Type": "Pass"})
    client = patched.client("stepfunctions")
    probe.outcome(
        patched,
        client.start_execution(stateMachineArn=machine, name="one", input="{}")["executionArn"],
    )
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        client.start_execution(stateMachineArn=machine, name="one", input="{}")


def test_a_retried_task_has_a_token_of_its_own(stock: Cloud, patched: Cloud) -> None:
    def observe(cloud: Cloud) -> int:
        url, _ = probe.queue(cloud)
        retry = {"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1, "MaxAttempts": 1}
        probe.start(cloud, probe.machine(cloud, _queued_task(url, TimeoutSeconds=1, Retry=[retry])))
        return len({probe.receive(cloud, url)["token"] for _ in range(2)})

    check(observe, stock, patched, as_it_comes=1, as_on_aws=2)


def test_a_timeout_may_be_an_expression(stock: Cloud, patched: Cloud) -> None:
    def observe(cloud: Cloud) -> str:
        url, _ = probe.queue(cloud)
        machine = probe.machine(cloud, _queued_task(url, TimeoutSeconds="{% 2 - 1 %}"))
        return str(probe.outcome(cloud, probe.start(cloud, machine))["error"])

    check(observe, stock, patched, as_it_comes="States.Runtime", as_on_aws="States.Timeout")


def test_a_task_that_waits_for_a_token_fails_with_its_lambda(stock: Cloud, patched: Cloud) -> None:
    source = "def handler(event, context):\n    raise ValueError('no')\n"

    def observe(cloud: Cloud) -> str:
        machine = probe.machine(
            cloud, _lambda_task(probe.function(cloud, source), TimeoutSeconds=3)
        )
        return str(probe.outcome(cloud, probe.start(cloud, machine))["error"])

    check(observe, stock, patched, as_it_comes="States.Timeout", as_on_aws="ValueError")


def test_delays_between_retries_keep_to_their_bound(stock: Cloud, patched: Cloud) -> None:
    source = "def handler(event, context):\n    raise ValueError('no')\n"

    def observe(cloud: Cloud) -> bool:
        retry = {
            "ErrorEquals": ["ValueError"],
            "IntervalSeconds": 1,
            "BackoffRate": 5,
            "MaxDelaySeconds": 1,
        }
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": probe.function(cloud, source)},
            "Retry": [{**retry, "MaxAttempts": 2}],
        }
        execution = probe.start(cloud, probe.machine(cloud, task))
        probe.outcome(cloud, execution)
        history = cloud.client("stepfunctions").get_execution_history(executionArn=execution)[
            "events"
        ]
        times = [one["timestamp"] for one in history if one["type"] == "TaskScheduled"]
        return bool(times[-1] - times[-2] < timedelta(seconds=4))

    check(observe, stock, patched, as_it_comes=False, as_on_aws=True)


def test_what_is_not_json_is_no_output(stock: Cloud, patched: Cloud) -> None:
    def observe(cloud: Cloud) -> str:
        url, _ = probe.queue(cloud)
        probe.start(cloud, probe.machine(cloud, _queued_task(url, TimeoutSeconds=20)))
        token = probe.receive(cloud, url)["token"]
        try:
            cloud.client("stepfunctions").send_task_success(taskToken=token, output="not json")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "taken"

    check(observe, stock, patched, as_it_comes="taken", as_on_aws="InvalidOutput")


def test_an_upload_is_announced_with_its_version(stock: Cloud, patched: Cloud) -> None:
    def observe(cloud: Cloud) -> bool:
        s3, events = cloud.client("s3"), cloud.client("events")
        bucket, (url, arn) = probe.unique("bucket"), probe.queue(cloud)
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        pattern = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
        events.put_rule(Name=bucket, EventPattern=pattern)
        events.put_targets(Rule=bucket, Targets=[{"Id": "queue", "Arn": arn}])
        version = s3.put_object(Bucket=bucket, Key="a b+c/héllo 你好 100%.mp3", Body=b"x")[
            "VersionId"
        ]
        about = probe.receive(cloud, url)["detail"]["object"]
        assert about["key"] == "a b+c/héllo 你好 100%.mp3"
        return bool(about.get("version-id") == version)

    check(observe, stock, patched, as_it_comes=False, as_on_aws=True)


def test_a_piece_of_a_version_is_a_piece(stock: Cloud, patched: Cloud) -> None:
    def observe(cloud: Cloud) -> list[bytes]:
        s3, bucket = cloud.client("s3"), probe.unique("bucket")
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["VersionId"]
        wanted = {"Bucket": bucket, "Key": "k", "VersionId": version, "ChecksumMode": "ENABLED"}
        return [
            s3.get_object(Range=f"bytes={one}", **wanted)["Body"].read()
            for one in ("2-4", "7-", "-2")
        ]

    whole = [b"0123456789"] * 3
    check(observe, stock, patched, as_it_comes=whole, as_on_aws=[b"234", b"789", b"89"])


def test_a_rules_lambda_is_tried_three_times(stock: Cloud, patched: Cloud) -> None:
    source = """
import os
def handler(event, context):
    with open(os.environ["HOME"] + "/rule", "a") as diary:
        diary.write(event["detail"]["name"] + "\\n")
    if event["detail"]["name"] == "first":
        raise ValueError("no")
"""

    def observe(cloud: Cloud) -> int:
        events, rule = cloud.client("events"), probe.unique("rule")
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
        events.put_targets(
            Rule=rule, Targets=[{"Id": "function", "Arn": probe.function(cloud, source)}]
        )
        sent = {"Source": rule, "DetailType": "probe"}
        events.put_events(Entries=[{**sent, "Detail": json.dumps({"name": "first"})}])
        try:
            probe.until(lambda: probe.diary(cloud, "rule").count("first") == 3, patience=6)
        except AssertionError:
            return probe.diary(cloud, "rule").count("first")
        return 3

    check(observe, stock, patched, as_it_comes=1, as_on_aws=3)


def test_who_may_send_a_message_may_send_a_batch(stock: Cloud, patched: Cloud) -> None:
    source = """
import boto3
def handler(event, context):
    boto3.client("sqs").send_message_batch(
        QueueUrl=event["queue"], Entries=[{"Id": "0", "MessageBody": "one"}]
    )
"""

    def observe(cloud: Cloud) -> bool:
        url = cloud.client("sqs").create_queue(QueueName=probe.unique("queue"))["QueueUrl"]
        name = probe.function(cloud, source, allow={"sqs:SendMessage": "*"})
        payload = json.dumps({"queue": url})
        answer = cloud.client("lambda").invoke(FunctionName=name, Payload=payload)
        return "AccessDenied" not in answer["Payload"].read().decode()

    check(observe, stock, patched, as_it_comes=False, as_on_aws=True)


def test_a_grant_on_the_state_machine_covers_its_tokens(stock: Cloud, patched: Cloud) -> None:
    source = """
import boto3
def handler(event, context):
    boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output="{}")
"""

    def observe(cloud: Cloud) -> str:
        granted = {
            "states:SendTaskSuccess": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:machine-*"
        }
        task = _lambda_task(probe.function(cloud, source, allow=granted), TimeoutSeconds=6)
        return str(probe.outcome(cloud, probe.start(cloud, probe.machine(cloud, task)))["status"])

    check(observe, stock, patched, as_it_comes="FAILED", as_on_aws="SUCCEEDED")


def test_a_function_may_do_only_what_its_role_grants(patched: Cloud) -> None:
    source = """
import boto3
def handler(event, context):
    boto3.client("s3").list_buckets()
"""
    answer = patched.client("lambda").invoke(FunctionName=probe.function(patched, source))
    assert "AccessDenied" in json.load(answer["Payload"])["errorMessage"]


def test_a_service_that_is_out_refuses_functions_and_not_who_looks_on(patched: Cloud) -> None:
    source = """
import boto3
from botocore.config import Config
def handler(event, context):
    once = Config(retries={"total_max_attempts": 1})
    boto3.client("dynamodb", config=once).put_item(
        TableName=event["table"], Item={"pk": {"S": event["pk"]}}
    )
"""
    table = probe.unique("table")
    probe.streamed_table(patched, table)
    name = probe.function(patched, source, allow={"dynamodb:PutItem": "*"})

    def put(pk: str) -> Any:
        payload = json.dumps({"table": table, "pk": pk})
        answer = patched.client("lambda").invoke(FunctionName=name, Payload=payload)
        return json.load(answer["Payload"])

    with patched.outage("dynamodb"):
        errors = [put(str(number)) for number in range(12)]
        rows = patched.client("dynamodb").scan(TableName=table)["Count"]
    assert all("InternalServerError" in error["errorMessage"] for error in errors)
    assert 0 < rows < 12, "some fail before their effect, some after it"
    assert put("after") is None


def test_a_function_sees_its_bundle_and_aws_runtime_and_no_more(patched: Cloud) -> None:
    source = "def handler(event, context):\n    import boto3\n    import pytest\n"
    answer = patched.client("lambda").invoke(FunctionName=probe.function(patched, source))
    assert json.load(answer["Payload"])["errorMessage"] == "No module named 'pytest'"


def _queued_task(url: str, **more: Any) -> dict[str, Any]:
    arguments = {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}}
    return {"Type": "Task", "Resource": QUEUE_AND_WAIT, "Arguments": arguments, **more}


def _lambda_task(function: str, **more: Any) -> dict[str, Any]:
    arguments = {"FunctionName": function, "Payload": {"token": "{% $states.context.Task.Token %}"}}
    return {"Type": "Task", "Resource": WAIT_FOR_TOKEN, "Arguments": arguments, **more}


@pytest.mark.parametrize("stock", [True, False])
def test_a_stream_is_read_from_its_beginning_after_a_restart(tmp_path: Path, stock: bool) -> None:
    source = """
import os
def handler(event, context):
    keys = [one["dynamodb"]["Keys"]["pk"]["S"] for one in event["Records"]]
    with open(os.environ["HOME"] + "/restart", "a") as diary:
        diary.write("".join(key + "\\n" for key in keys))
"""
    first = cloud.start(tmp_path, stock=stock, keep=True)
    try:
        stream = probe.streamed_table(first, "kept")
        first.client("lambda").create_event_source_mapping(
            FunctionName=probe.function(first, source),
            EventSourceArn=stream,
            StartingPosition="TRIM_HORIZON",
        )
        put(first, "before-1", "before-2", "before-3")
        probe.until(lambda: len(probe.diary(first, "restart")) == 3)
    finally:
        first.stop()
    second = cloud.start(tmp_path, stock=stock, keep=True)
    try:
        put(second, "skipped", "skipped-2", "skipped-3", "seen")
        probe.until(lambda: "seen" in probe.diary(second, "restart"))
        assert ("skipped" in probe.diary(second, "restart")) is not stock
    finally:
        second.stop()


def put(running: Cloud, *keys: str) -> None:
    for key in keys:
        running.client("dynamodb").put_item(TableName="kept", Item={"pk": {"S": key}})
