"""Which function may do what: every grant, a paragraph for each function.

No function can both read a provider's key and fetch a URL that a stranger chose; none can delete a
video. tests/infra/test_grants.py holds the template to the letter of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.function import Function
    from infra.stack import Talkdrop

# Where intake puts media that a task named by URL, and sends them on their way itself.
OWN_IMPORTS = "_talkdrop/"
PIECES = OWN_IMPORTS + "pieces/"  # the pieces of long voices, and their plans
UPLOADS = OWN_IMPORTS + "uploads/"  # what the API's upload forms may write
ERROR_NOTES = ".error.json"  # what intake lays beside a refused file
# What these functions read and write are rows of tasks, never limits, budgets or job ids.
TASK_ROWS = "task#*"
MADE_ROWS = ("made#*", "voice#*")  # the index of pieces that were made before
MONEY_ROWS = ("budget#*", "reserve#*")


def grant_all(stack: Talkdrop) -> None:
    _may_read_drops(stack)
    _intake(stack)
    _api(stack)
    _submit(stack)
    _callback(stack)
    _watch(stack)
    _archive(stack)
    _cut(stack)
    _gather(stack)
    _join(stack)
    _announce(stack)
    _sweep(stack)
    _summary(stack)
    if stack.key:
        _may_use_the_key(stack, stack.key.key_arn)
    row = stack.tasks.table_arn
    stack.functions["settle"].may("dynamodb:GetItem", "dynamodb:UpdateItem", on=[row])
    _call_the_next(stack)
    answering = (stack.functions[name] for name in ("watch", "callback", "submit", "api"))
    # A result where there is a video, an error where there is none. Who only wakes uses the error,
    # and the result as long as executions of before 2026-11-21 may run.
    by_either = ["states:SendTaskSuccess", "states:SendTaskFailure"]
    stack.workflow.may_be_answered_by(*answering, actions=by_either)
    gathering = (stack.functions[name] for name in ("gather", "announce", "api"))
    stack.pieces_workflow.may_be_answered_by(*gathering, actions=["states:SendTaskSuccess"])


def _call_the_next(stack: Talkdrop) -> None:
    """Who ends an attempt, or finds a provider open again, gives the free turn to the task that
    has waited longest and sends its message."""
    for name in ("submit", "watch", "settle", "sweep", "api"):
        calling = stack.functions[name]
        calling.may("dynamodb:BatchGetItem", on=[stack.tasks.table_arn])
        calling.may("dynamodb:Query", on=[f"{stack.tasks.table_arn}/index/due"])
        calling.may("sqs:SendMessage", on=[stack.submissions.queue_arn])


def _may_use_the_key(stack: Talkdrop, key_arn: str) -> None:
    """Table, buckets and secrets are encrypted by the customer's key, and every function touches
    one of them. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
    """
    for function in stack.functions.values():
        function.may(
            "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
            "kms:ReEncryptFrom", "kms:ReEncryptTo",
            on=[key_arn],
        )  # fmt: skip


def _may_read_drops(stack: Talkdrop) -> None:
    """Listing is needed to tell what is not there: without it S3 answers 403 and not 404."""
    for name in ("intake", "api", "submit"):
        reader = stack.functions[name]
        reader.may("s3:GetObject", "s3:GetObjectVersion", on=[stack.inbox.arn_for_objects("*")])
        reader.may("s3:ListBucket", on=[stack.inbox.bucket_arn])


def _intake(stack: Talkdrop) -> None:
    intake = stack.functions["intake"]
    notes = stack.inbox.arn_for_objects(f"*{ERROR_NOTES}")
    intake.may("s3:PutObject", on=[notes, stack.inbox.arn_for_objects(f"{OWN_IMPORTS}*")])
    intake.may("s3:DeleteObject", on=[notes])
    intake.may_on_rows(
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
        table=stack.tasks, keys=TASK_ROWS,
    )  # fmt: skip
    intake.may("sqs:SendMessage", on=[stack.uploads.queue_arn, stack.submissions.queue_arn])


def _api(stack: Talkdrop) -> None:
    api = stack.functions["api"]
    row, queues = [stack.tasks.table_arn], [stack.uploads.queue_arn, stack.submissions.queue_arn]
    api.may_on_rows("dynamodb:PutItem", table=stack.tasks, keys=TASK_ROWS)
    # Adopting and resubmitting write job ids and leases; health reads budgets and breakers.
    api.may("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem", on=row)
    indexes = ("by-status", "by-created", "by-id")
    api.may("dynamodb:Query", on=[f"{stack.tasks.table_arn}/index/{name}" for name in indexes])
    api.may("sqs:SendMessage", on=queues)
    letters = [queue.queue_arn for queue in stack.dead_letters.values()]
    api.may("sqs:GetQueueAttributes", on=[*queues, *letters])
    # What it signs links for: videos to read, and uploads to write.
    videos = [stack.archived.arn_for_objects(one) for one in ("videos/*", "pieces/*")]
    api.may("s3:GetObject", "s3:GetObjectVersion", on=videos)
    api.may("s3:PutObject", on=[stack.inbox.arn_for_objects(f"{UPLOADS}*")])
    _may_start_both(stack, api)


def _submit(stack: Talkdrop) -> None:
    submit = stack.functions["submit"]
    submit.may(
        "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem",
        on=[stack.tasks.table_arn],
    )  # fmt: skip
    keys = [*_provider_keys(stack), stack.callback_secret.secret_arn]
    submit.may("secretsmanager:GetSecretValue", on=keys)
    machines = [stack.workflow.machine_arn, stack.pieces_workflow.machine_arn]
    submit.may("states:StartExecution", on=machines)
    submit.may("states:DescribeExecution", on=[stack.workflow.execution_arns])
    submit.may("sqs:SendMessage", on=[stack.uploads.queue_arn, stack.submissions.queue_arn])


def _callback(stack: Talkdrop) -> None:
    callback = stack.functions["callback"]
    callback.may_on_rows("dynamodb:UpdateItem", table=stack.tasks, keys=TASK_ROWS)
    callback.may("secretsmanager:GetSecretValue", on=[stack.callback_secret.secret_arn])
    callback.may("states:StartExecution", on=[stack.workflow.machine_arn])


def _watch(stack: Talkdrop) -> None:
    watch = stack.functions["watch"]
    watch.may("dynamodb:GetItem", "dynamodb:UpdateItem", on=[stack.tasks.table_arn])
    watch.may("secretsmanager:GetSecretValue", on=_provider_keys(stack))
    watch.may("sqs:SendMessage", on=[stack.submissions.queue_arn])


def _archive(stack: Talkdrop) -> None:
    """Not s3:DeleteObject: nothing of ours can remove a video. No listing of objects either, so a
    missing one is a 403; uploads in parts are listed, to go on with one."""
    archive = stack.functions["archive"]
    videos = [stack.archived.arn_for_objects(one) for one in ("videos/*", "pieces/*")]
    archive.may_on_rows("dynamodb:GetItem", table=stack.tasks, keys=TASK_ROWS)
    archive.may(
        "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectTagging", on=videos
    )
    archive.may("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", on=videos)
    archive.may("s3:ListBucketMultipartUploads", on=[stack.archived.bucket_arn])


def _cut(stack: Talkdrop) -> None:
    """Not the provider's key and not the videos: it turns a voice of the inbox into pieces of it,
    and copies the archived pieces of earlier ones."""
    cut, made = stack.functions["cut"], stack.archived.arn_for_objects("pieces/*")
    cut.may("s3:GetObject", "s3:GetObjectVersion", on=[stack.inbox.arn_for_objects("*"), made])
    cut.may("s3:PutObject", on=[stack.inbox.arn_for_objects(f"{PIECES}*"), made])
    cut.may("s3:PutObjectTagging", on=[made])
    keys = [TASK_ROWS, *MADE_ROWS]
    cut.may_on_rows(
        "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem",
        table=stack.tasks, keys=keys,
    )  # fmt: skip


def _gather(stack: Talkdrop) -> None:
    """It reserves the whole quote, so it writes budgets; it never pays."""
    gather = stack.functions["gather"]
    plans = stack.inbox.arn_for_objects(f"{PIECES}*")
    gather.may("s3:GetObject", "s3:GetObjectVersion", on=[plans])
    tasks = stack.tasks
    gather.may_on_rows(
        "dynamodb:GetItem", "dynamodb:UpdateItem", table=tasks, keys=[TASK_ROWS, *MONEY_ROWS]
    )
    gather.may_on_rows("dynamodb:UpdateItem", table=tasks, keys=MADE_ROWS[0])
    gather.may_on_rows("dynamodb:BatchGetItem", "dynamodb:PutItem", table=tasks, keys=TASK_ROWS)
    gather.may("sqs:SendMessage", on=[stack.submissions.queue_arn])


def _join(stack: Talkdrop) -> None:
    """It reads the voice and the pieces, and writes the joined video; it tags pieces, so that the
    archive's lifecycle may take them, and can remove nothing itself."""
    join = stack.functions["join"]
    join.may("s3:GetObject", "s3:GetObjectVersion", on=[stack.inbox.arn_for_objects("*")])
    pieces, videos = (stack.archived.arn_for_objects(one) for one in ("pieces/*", "videos/*"))
    join.may("s3:GetObject", "s3:GetObjectVersion", on=[pieces, videos])
    join.may("s3:PutObjectTagging", on=[pieces, videos])
    join.may("s3:PutObject", on=[videos])
    join.may_on_rows(
        "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem",
        table=stack.tasks, keys=TASK_ROWS,
    )  # fmt: skip
    join.may_on_rows("dynamodb:UpdateItem", table=stack.tasks, keys=MADE_ROWS[0])


def _announce(stack: Talkdrop) -> None:
    announce, table = stack.functions["announce"], stack.tasks
    announce.may_on_rows("dynamodb:UpdateItem", table=table, keys=TASK_ROWS)
    announce.may(
        "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator",
        on=[str(table.table_stream_arn)],
    )  # fmt: skip
    announce.may("dynamodb:ListStreams", on=[f"{table.table_arn}/stream/*"])
    announce.may("events:PutEvents", on=[stack.bus.event_bus_arn])


def _sweep(stack: Talkdrop) -> None:
    sweep = stack.functions["sweep"]
    sweep.may("s3:ListBucketVersions", on=[stack.inbox.bucket_arn])
    indexes = [f"{stack.tasks.table_arn}/index/{name}" for name in ("due", "by-status")]
    sweep.may("dynamodb:Query", on=indexes)
    sweep.may("dynamodb:GetItem", "dynamodb:UpdateItem", on=[stack.tasks.table_arn])
    sweep.may("sqs:SendMessage", on=[stack.uploads.queue_arn, stack.submissions.queue_arn])
    _may_start_both(stack, sweep)


def _summary(stack: Talkdrop) -> None:
    """It reads tasks, budgets and breakers, and writes nothing but the mail."""
    if "summary" not in stack.functions or stack.notice_topic is None:
        return
    summary = stack.functions["summary"]
    summary.may("dynamodb:Query", on=[f"{stack.tasks.table_arn}/index/by-status"])
    summary.may_on_rows("dynamodb:GetItem", table=stack.tasks, keys=["budget#*", "breaker#*"])
    summary.may("sns:Publish", on=[stack.notice_topic.topic_arn])


def _may_start_both(stack: Talkdrop, function: Function) -> None:
    workflows = (stack.workflow, stack.pieces_workflow)
    function.may("states:StartExecution", on=[one.machine_arn for one in workflows])
    function.may("states:DescribeExecution", on=[one.execution_arns for one in workflows])


def _provider_keys(stack: Talkdrop) -> list[str]:
    return [secret.secret_arn for secret in stack.provider_secrets.values()]
