"""What to type while the embedded run is up: for the command line, the AWS CLI, Python and curl."""

from __future__ import annotations

from local.aws.cloud import KEY, REGION
from local.environment import Environment


def page(running: Environment, address: str) -> str:
    outputs = running.stack.outputs
    ledger = f"{running.simulator.addresses['control']}/control/ledger" if running.simulator else ""
    return f"""
Page       {address}
Inbox      s3://{running.inbox}
Archive    s3://{outputs["ArchiveBucket"]}
API        {outputs["ApiUrl"]}/tasks
Ledger     {ledger}
The page is for a browser; the ledger has each charge of the simulated
providers. All of it answers on this machine only.

In another terminal, first:

  eval "$(.venv/bin/talkdrop env)"       or, without the command line:
  export AWS_ACCESS_KEY_ID={KEY} AWS_SECRET_ACCESS_KEY={KEY}
  export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
  export AWS_ENDPOINT_URL={running.cloud.url}

Then with the AWS CLI:

  aws s3 cp local/samples/portrait.png s3://{running.inbox}/mine/hello.png
  aws s3 cp local/samples/voice.mp3 s3://{running.inbox}/mine/hello.mp3
  aws s3 ls --recursive s3://{outputs["ArchiveBucket"]}/videos/
  .venv/bin/talkdrop explain TASK        (its id stands in the events below)

With Python (.venv/bin/python):

  import boto3
  s3 = boto3.client("s3")
  s3.upload_file("local/samples/portrait.png", "{running.inbox}", "mine/hello.png")
  s3.upload_file("local/samples/voice.mp3", "{running.inbox}", "mine/hello.mp3")

By the HTTP API, signed. What lies under _talkdrop/ makes no task by itself:

  aws s3 cp local/samples/portrait.png s3://{running.inbox}/_talkdrop/face.png
  aws s3 cp local/samples/voice.mp3 s3://{running.inbox}/_talkdrop/voice.mp3
  curl --aws-sigv4 aws:amz:{REGION}:execute-api --user {KEY}:{KEY} \\
    -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%s)" \\
    -d '{{"portrait": "_talkdrop/face.png", "audio": "_talkdrop/voice.mp3"}}' \\
    '{outputs["ApiUrl"]}/tasks'

Events appear below as they come; Ctrl-C stops everything.
"""
