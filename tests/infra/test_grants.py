"""Who may do what, to the letter: a grant more or less is a decision, and this file is where it is
seen."""

from __future__ import annotations

import ast
from pathlib import Path

from functions.api.routes import ROUTES
from functions.settings import Options
from infra.fleet import fleet
from tests.infra.template import Template

EXECUTIONS = "arn:aws:states:AWS::Region:AWS::AccountId:execution:WorkflowMachine:*"
EXECUTIONS_IN_PIECES = EXECUTIONS.replace("WorkflowMachine", "PiecesWorkflowMachine")
MAY = {
    "intake": {
        "Tasks[task#*]": "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem",
        "Inbox": "s3:ListBucket",
        "Inbox/*": "s3:GetObject s3:GetObjectVersion",
        "Inbox/*.error.json": "s3:PutObject s3:DeleteObject",
        "Inbox/_talkdrop/*": "s3:PutObject",
        "Uploads": "sqs:SendMessage CONSUME",
        "Submissions": "sqs:SendMessage",
    },
    "api": {
        "Tasks[task#*]": "dynamodb:PutItem",
        "Tasks": "dynamodb:GetItem dynamodb:BatchGetItem dynamodb:UpdateItem",
        "Tasks/index/by-status": "dynamodb:Query",
        "Tasks/index/by-created": "dynamodb:Query",
        "Tasks/index/by-id": "dynamodb:Query",
        "Tasks/index/due": "dynamodb:Query",
        "Inbox": "s3:ListBucket",
        "Inbox/*": "s3:GetObject s3:GetObjectVersion",
        "Inbox/_talkdrop/uploads/*": "s3:PutObject",
        "Archive/videos/*": "s3:GetObject s3:GetObjectVersion",
        "Archive/pieces/*": "s3:GetObject s3:GetObjectVersion",
        "Uploads": "sqs:SendMessage sqs:GetQueueAttributes",
        "Submissions": "sqs:SendMessage sqs:GetQueueAttributes",
        **{
            f"{name}DeadLetters": "sqs:GetQueueAttributes"
            for name in ("Uploads", "Submissions", "Announcements", "Sweep")
        },
        "WorkflowMachine": "states:StartExecution states:SendTaskSuccess states:SendTaskFailure",
        EXECUTIONS: "states:DescribeExecution",
        "PiecesWorkflowMachine": "states:StartExecution states:SendTaskSuccess",
        EXECUTIONS_IN_PIECES: "states:DescribeExecution",
    },
    "submit": {
        "Tasks": (
            "dynamodb:GetItem dynamodb:UpdateItem dynamodb:ConditionCheckItem dynamodb:BatchGetItem"
        ),
        "Tasks/index/due": "dynamodb:Query",
        "Inbox": "s3:ListBucket",
        "Inbox/*": "s3:GetObject s3:GetObjectVersion",
        "PROVIDER KEYS": "secretsmanager:GetSecretValue",
        "CallbackKey": "secretsmanager:GetSecretValue",
        "WorkflowMachine": "states:StartExecution states:SendTaskSuccess states:SendTaskFailure",
        EXECUTIONS: "states:DescribeExecution",
        "PiecesWorkflowMachine": "states:StartExecution",
        "Uploads": "sqs:SendMessage",
        "Submissions": "sqs:SendMessage CONSUME",
    },
    "callback": {
        "Tasks[task#*]": "dynamodb:UpdateItem",
        "CallbackKey": "secretsmanager:GetSecretValue",
        "WorkflowMachine": "states:StartExecution states:SendTaskSuccess states:SendTaskFailure",
    },
    "watch": {
        "Tasks": "dynamodb:GetItem dynamodb:UpdateItem dynamodb:BatchGetItem",
        "Tasks/index/due": "dynamodb:Query",
        "PROVIDER KEYS": "secretsmanager:GetSecretValue",
        "Submissions": "sqs:SendMessage",
        "WorkflowMachine": "states:SendTaskSuccess states:SendTaskFailure",
    },
    "archive": {
        "Tasks[task#*]": "dynamodb:GetItem",
        "Archive": "s3:ListBucketMultipartUploads",
        **dict.fromkeys(
            ("Archive/videos/*", "Archive/pieces/*"),
            "s3:GetObject s3:GetObjectVersion s3:PutObject s3:PutObjectTagging"
            " s3:AbortMultipartUpload s3:ListMultipartUploadParts",
        ),
    },
    "cut": {
        "Tasks[task#*, made#*, voice#*]": (
            "dynamodb:GetItem dynamodb:BatchGetItem dynamodb:UpdateItem"
        ),
        "Inbox/*": "s3:GetObject s3:GetObjectVersion",
        "Inbox/_talkdrop/pieces/*": "s3:PutObject",
        "Archive/pieces/*": ("s3:GetObject s3:GetObjectVersion s3:PutObject s3:PutObjectTagging"),
    },
    "gather": {
        "Tasks[made#*]": "dynamodb:UpdateItem",
        "Tasks[task#*, budget#*, reserve#*]": "dynamodb:GetItem dynamodb:UpdateItem",
        "Tasks[task#*]": "dynamodb:BatchGetItem dynamodb:PutItem",
        "Inbox/_talkdrop/pieces/*": "s3:GetObject s3:GetObjectVersion",
        "Submissions": "sqs:SendMessage",
        "PiecesWorkflowMachine": "states:SendTaskSuccess",
    },
    "join": {
        "Tasks[made#*]": "dynamodb:UpdateItem",
        "Tasks[task#*]": "dynamodb:GetItem dynamodb:BatchGetItem dynamodb:UpdateItem",
        "Inbox/*": "s3:GetObject s3:GetObjectVersion",
        "Archive/pieces/*": "s3:GetObject s3:GetObjectVersion s3:PutObjectTagging",
        "Archive/videos/*": ("s3:GetObject s3:GetObjectVersion s3:PutObject s3:PutObjectTagging"),
    },
    "settle": {
        "Tasks": "dynamodb:GetItem dynamodb:UpdateItem dynamodb:BatchGetItem",
        "Tasks/index/due": "dynamodb:Query",
        "Submissions": "sqs:SendMessage",
    },
    "announce": {
        "Tasks[task#*]": "dynamodb:UpdateItem",
        "Tasks": "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator",
        "Tasks/stream/*": "dynamodb:ListStreams",
        "Bus": "events:PutEvents",
        "PiecesWorkflowMachine": "states:SendTaskSuccess",
        "AnnouncementsDeadLetters": "REPORT",
    },
    "sweep": {
        "Tasks": "dynamodb:GetItem dynamodb:UpdateItem dynamodb:BatchGetItem",
        "Tasks/index/due": "dynamodb:Query",
        "Tasks/index/by-status": "dynamodb:Query",
        "Inbox": "s3:ListBucketVersions",
        "Uploads": "sqs:SendMessage",
        "Submissions": "sqs:SendMessage",
        "WorkflowMachine": "states:StartExecution",
        EXECUTIONS: "states:DescribeExecution",
        "PiecesWorkflowMachine": "states:StartExecution",
        EXECUTIONS_IN_PIECES: "states:DescribeExecution",
        "SweepDeadLetters": "REPORT",
    },
}
# What Lambda's own feeding and reporting need.
WORDS = {
    "CONSUME": (
        "sqs:ReceiveMessage sqs:ChangeMessageVisibility sqs:GetQueueUrl sqs:DeleteMessage "
        "sqs:GetQueueAttributes"
    ),
    "REPORT": "sqs:SendMessage sqs:GetQueueAttributes sqs:GetQueueUrl",
}
# AWS knows no resource for these:
# https://docs.aws.amazon.com/service-authorization/latest/reference/
WITHOUT_RESOURCE = {
    "xray",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
FUNCTIONS = Path(__file__).parents[2] / "functions"


def test_every_function_may_do_what_is_written_here_and_nothing_else(template: Template) -> None:
    keys = provider_keys(template)
    for name, written in MAY.items():
        expected: dict[str, set[str]] = {}
        for on, words in written.items():
            actions = {action for word in words.split() for action in WORDS.get(word, word).split()}
            expected |= dict.fromkeys(keys if on == "PROVIDER KEYS" else [on], actions)
        expected[f"{name.capitalize()}Logs"] = {"logs:CreateLogStream", "logs:PutLogEvents"}
        expected["*"] = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert template.grants(f"{name.capitalize()}Role") == expected, name
    assert set(MAY) == set(template.functions()) == set(fleet(Options()))


def test_no_role_has_a_wildcard_action_nor_a_wildcard_resource_where_aws_knows_one(
    template: Template,
) -> None:
    for policy in template.of_type("AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            for on, actions in template.grants(template.text(role)).items():
                assert not [action for action in actions if "*" in action]
                if on == "*":
                    assert all(
                        action in WITHOUT_RESOURCE or action.split(":")[0] in WITHOUT_RESOURCE
                        for action in actions
                    )


def test_every_role_is_one_functions_own_and_brings_no_managed_policy(template: Template) -> None:
    roles = template.of_type("AWS::IAM::Role")
    assert set(roles) == {f"{name.capitalize()}Role" for name in MAY} | {
        "WorkflowRole",
        "PiecesWorkflowRole",
    }
    assert not [
        name for name, role in roles.items() if "ManagedPolicyArns" in role or "Policies" in role
    ]
    used = [template.text(function["Role"]) for function in template.functions().values()]
    assert len(used) == len(set(used))


def test_no_function_can_read_a_key_and_fetch_what_a_stranger_names(template: Template) -> None:
    readers = {
        name for name in MAY if any("GetSecretValue" in one for one in all_actions(template, name))
    }
    fetchers = {
        name
        for name in MAY
        if "functions.download.download" in modules_behind(f"functions.handlers.{name}")
    }
    assert readers == {"submit", "watch", "callback"}
    assert fetchers >= {"archive", "intake"}
    assert not readers & fetchers


def test_only_submit_and_watch_read_a_providers_key(template: Template) -> None:
    keys = provider_keys(template)
    assert keys
    assert {name for name in MAY if keys & template.grants(f"{name.capitalize()}Role").keys()} == {
        "submit",
        "watch",
    }


def test_no_function_can_delete_anything_but_an_error_note(template: Template) -> None:
    deletions = {
        (name, on, action)
        for name in MAY
        for on, actions in template.grants(f"{name.capitalize()}Role").items()
        for action in actions
        if "Delete" in action and action != "sqs:DeleteMessage"
    }
    assert deletions == {("intake", "Inbox/*.error.json", "s3:DeleteObject")}


def test_only_archive_join_and_the_copies_of_pieces_write_the_archive(template: Template) -> None:
    assert {
        name
        for name in MAY
        for on, actions in template.grants(f"{name.capitalize()}Role").items()
        if on.startswith("Archive") and not actions <= {"s3:GetObject", "s3:GetObjectVersion"}
    } == {"archive", "join", "cut"}


def test_each_workflow_may_only_call_its_own_steps(template: Template) -> None:
    granted = template.grants("WorkflowRole")
    calls = {on for on, actions in granted.items() if "lambda:InvokeFunction" in actions}
    assert calls == {"WatchFunction", "ArchiveFunction", "SettleFunction"}
    granted = template.grants("PiecesWorkflowRole")
    calls = {on for on, actions in granted.items() if "lambda:InvokeFunction" in actions}
    assert calls == {f"{name}Function" for name in ("Cut", "Gather", "Join", "Settle")}
    assert set(granted) == calls | {"*"}


def test_who_is_called_by_a_service_is_called_for_one_thing_of_ours(template: Template) -> None:
    paths = {route.split()[1].split("{")[0].rstrip("/") for route in ROUTES}
    for permission in template.of_type("AWS::Lambda::Permission").values():
        assert "SourceArn" in permission
        assert (
            any(f"*/*{path}" in str(permission["SourceArn"]) for path in paths)
            or permission["Principal"] == "events.amazonaws.com"
            or ("/*/*/callbacks/" in str(permission["SourceArn"]))
        )
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in template.of_type(kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    assert "aws:SourceArn" in str(
                        statement["Condition"]
                    ) or "aws:SourceAccount" in str(statement["Condition"])


def provider_keys(template: Template) -> set[str]:
    return {
        name for name in template.of_type("AWS::SecretsManager::Secret") if name != "CallbackKey"
    }


def all_actions(template: Template, name: str) -> set[str]:
    return {
        action
        for actions in template.grants(f"{name.capitalize()}Role").values()
        for action in actions
    }


def modules_behind(name: str) -> set[str]:
    """The modules of the bundle that this one imports, and those that they import."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        path = (FUNCTIONS.parent / module.replace(".", "/")).with_suffix(".py")
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("functions"):
                waiting += [
                    str(node.module),
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
    return seen
