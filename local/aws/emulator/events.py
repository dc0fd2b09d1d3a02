"""Patches of the emulated S3, EventBridge and IAM."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from ministack.core import iam_actions
from ministack.services import eventbridge, lambda_svc, s3

from local.aws.emulator import workflows

Answer = tuple[int, dict[str, str], bytes]


def name_the_version() -> None:
    """Gap: S3's EventBridge events of a versioned bucket lack `object.version-id`."""
    fire: Callable[..., None] = s3._fire_s3_event
    dispatch: Callable[..., None] = eventbridge._dispatch_event
    at_hand = threading.local()  # each event is fired in a thread of its own, and dispatched in it

    def fire_and_remember(*args: Any, version_id: str | None = None, **kwargs: Any) -> None:
        at_hand.version = version_id
        fire(*args, version_id=version_id, **kwargs)

    def dispatch_with_version(event: dict[str, Any], view: Any = None) -> None:
        version = getattr(at_hand, "version", None)
        if version and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event, view = {**event, "Detail": json.dumps(detail)}, None
        dispatch(event, view)

    s3._fire_s3_event = fire_and_remember
    eventbridge._dispatch_event = dispatch_with_version


def read_a_range_of_a_version() -> None:
    """Gap: a GET that names a version ignores its `Range` and answers with the whole object."""
    get: Callable[..., Answer] = s3._get_object

    def get_range(
        bucket: str, key: str, headers: dict[str, str], query: dict[str, Any] | None = None
    ) -> Answer:
        status, fields, body = get(bucket, key, headers, query)
        if status != 200 or "range" not in headers or not (query or {}).get("versionId"):
            return status, fields, body
        found = s3._parse_range(headers["range"], len(body))
        if found is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, refused, s3._xml_body(s3._range_error_xml(bucket, key))
        first, last = found
        # The checksum is that of the whole object, and would condemn the piece.
        kept = {
            name: value
            for name, value in fields.items()
            if not name.lower().startswith("x-amz-checksum")
        }
        piece = {
            "Content-Length": str(last + 1 - first),
            "Content-Range": f"bytes {first}-{last}/{len(body)}",
        }
        return 206, {**kept, **piece}, body[first : last + 1]

    s3._get_object = get_range


def invoke_rules_lambda_with_retries() -> None:
    """Gap: a rule invokes its Lambda once and forgets it; AWS invokes asynchronously, with two
    retries."""

    def invoke(arn: str, payload: str) -> None:
        function, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not config:
            raise LookupError(f"a rule names the Lambda function {name}, which does not exist")
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = invoke


def authorize_batches_as_single_messages() -> None:
    """Gap: `SendMessageBatch` is authorized as an action of its own, which AWS does not have.

    AWS authorizes a batch of SQS as the single call.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """
    extract: Callable[..., str | None] = iam_actions.extract_iam_action

    def extract_single(*request: Any) -> str | None:
        action = extract(*request)
        is_batch = action is not None and action.startswith("sqs:") and action.endswith("Batch")
        return action.removesuffix("Batch") if action and is_batch else action

    iam_actions.extract_iam_action = extract_single


def authorize_task_tokens_by_their_machine() -> None:
    """Gap: `states:SendTask*` is authorized on the resource `*`, which a grant on the state machine
    does not cover.

    AWS authorizes it on the state machine whose task the token belongs to.
    """
    extract: Callable[..., str] = iam_actions.extract_resource_arn

    def extract_with_tokens(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        if service == "states" and b'"taskToken"' in (body or b""):
            machine = workflows.machine_of_token.get(json.loads(body).get("taskToken"))
            if machine is not None:
                return machine
        return extract(service, method, path, headers, body, *rest)

    iam_actions.extract_resource_arn = extract_with_tokens
