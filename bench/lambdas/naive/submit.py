"""What a tutorial writes: a message names a task; sign its media, create the job, remember its id.

No claim, no budget, no rate limit, no look at the media, and a timeout is an exception, so that SQS
delivers the message again and the job is paid again.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
import urllib3

dynamodb = boto3.resource("dynamodb")
table = dynamodb.Table(os.environ["TALKDROP_TABLE"])
s3 = boto3.client("s3")
secrets = boto3.client("secretsmanager")
stepfunctions = boto3.client("stepfunctions")
http = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"))
kie = json.loads(secrets.get_secret_value(SecretId="kie")["SecretString"])


def handler(event: dict[str, Any], context: object) -> None:
    for record in event["Records"]:
        submit(json.loads(record["body"])["task_id"])


def submit(task_id: str) -> None:
    task: dict[str, Any] = table.get_item(Key={"pk": f"task#{task_id}"})["Item"]
    job = {
        "model": task["model"],
        "callBackUrl": f"{os.environ['TALKDROP_CALLBACK_BASE_URL']}/callbacks/{task_id}",
        "input": {
            "image_url": sign(task["portrait"]),
            "audio_url": sign(task["audio"]),
            "prompt": task["prompt"],
        },
    }
    response = http.request(
        "POST",
        f"{kie['base_url']}/api/v1/jobs/createTask",
        headers={"Authorization": f"Bearer {kie['api_key']}", "Content-Type": "application/json"},
        body=json.dumps(job),
    )
    job_id = json.loads(response.data)["data"]["taskId"]
    table.update_item(
        Key={"pk": f"task#{task_id}"},
        UpdateExpression="SET #s = :s, job_id = :j",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": "SUBMITTED", ":j": job_id},
    )
    stepfunctions.start_execution(
        stateMachineArn=os.environ["TALKDROP_WORKFLOW_ARN"],
        name=task_id,
        input=json.dumps({"task_id": task_id}),
    )


def sign(file: dict[str, Any]) -> str:
    target = {"Bucket": file["bucket"], "Key": file["key"]}
    return str(s3.generate_presigned_url("get_object", Params=target, ExpiresIn=3600))
