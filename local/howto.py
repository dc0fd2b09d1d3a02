"""What to type while the embedded run is up: for the AWS CLI, for Python and for curl."""

from __future__ import annotations

from local.aws.cloud import KEY, REGION
from local.environment import World


def commands(world: World) -> str:
    url, api = world.cloud.url, world.stack.outputs["ApiUrl"]
    inbox, archive = world.inbox, world.stack.outputs["ArchiveBucket"]
    return f"""
Inbox    s3://{inbox}
Archive  s3://{archive}
API      {api}/tasks
All of it answers on this machine only, and is gone when this command ends.

With the AWS CLI, in another terminal:

  export AWS_ACCESS_KEY_ID={KEY} AWS_SECRET_ACCESS_KEY={KEY} AWS_REGION={REGION}
  export AWS_ENDPOINT_URL={url}
  aws s3 cp local/samples/portrait.png s3://{inbox}/mine/hello.png
  aws s3 cp local/samples/voice.mp3 s3://{inbox}/mine/hello.mp3
  aws s3 ls --recursive s3://{archive}/videos/
  .venv/bin/python -m talkdrop explain TASK        (its id stands in the events below)

With Python (.venv/bin/python):

  import boto3
  s3 = boto3.client("s3", endpoint_url="{url}", region_name="{REGION}", aws_access_key_id="{KEY}", \
aws_secret_access_key="{KEY}")
  s3.upload_file("local/samples/portrait.png", "{inbox}", "mine/hello.png")
  s3.upload_file("local/samples/voice.mp3", "{inbox}", "mine/hello.mp3")

By the API, signed. What lies under _talkdrop/ makes no task by itself:

  aws s3 cp local/samples/portrait.png s3://{inbox}/_talkdrop/face.png
  aws s3 cp local/samples/voice.mp3 s3://{inbox}/_talkdrop/voice.mp3
  curl --aws-sigv4 aws:amz:{REGION}:execute-api --user {KEY}:{KEY} -H 'Content-Type: application/json' \\
    -H "Idempotency-Key: $(date +%s)" -d '{{"portrait": "_talkdrop/face.png", "audio": "_talkdrop/voice.mp3"}}' \\
    '{api}/tasks'

A finished video lies in the archive as videos/<year>/<month>/<day>/<task id>/<name>.mp4, its manifest.json beside it.
Events appear below as they come; ctrl-C stops everything.
"""
