"""What a tutorial writes: the body says which job is done; write it down and wake the workflow.

Nothing proves that the provider sent it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3

dynamodb = boto3.resource("dynamodb")
table = dynamodb.Table(os.environ["TALKDROP_TABLE"])
stepfunctions = boto3.client("stepfunctions")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    job = json.loads(event["body"])["data"]
    task: dict[str, Any] = table.update_item(
        Key={"pk": f"task#{event['pathParameters']['task_id']}"},
        UpdateExpression="SET job_state = :s",
        ExpressionAttributeValues={":s": job["state"]},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    stepfunctions.send_task_success(taskToken=task["task_token"], output=json.dumps(job))
    return {"statusCode": 200, "body": "ok"}
