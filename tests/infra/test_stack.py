"""The stack as a whole: what it is made of, what it says, and what it refuses to be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from functions import providers
from infra.context import Context
from infra.stack import EMPTY_KEY
from tests.infra.conftest import ROOT, synthesise, template_in
from tests.infra.template import Json, Template

LANES = ("Uploads", "Submissions", "Announcements", "Sweep")


def test_it_says_where_everything_is(template: Template) -> None:
    assert set(template.json["Outputs"]) == {
        "InboxBucket",
        "ArchiveBucket",
        "ApiUrl",
        "CallbackUrl",
        "EventBusName",
        "TaskTableName",
        "WorkflowArn",
        "PiecesWorkflowArn",
        "UploadsQueueUrl",
        "SubmissionsQueueUrl",
        "CallbackSecret",
        "AlarmTopic",
        *(f"{lane}DeadLetterQueueUrl" for lane in LANES),
        "ProviderSecretKie",
    }


def test_only_providers_in_use_have_a_secret(template: Template, for_trying: Template) -> None:
    def secrets(of: Template) -> set[str]:
        return set(of.of_type("AWS::SecretsManager::Secret"))

    assert secrets(template) == {"KieKey", "CallbackKey"}
    assert secrets(for_trying) == {"CallbackKey"} | {
        f"{name.capitalize()}Key" for name in providers.NAMES
    }


def test_a_customer_hears_at_synthesis_of_alarms_without_address_and_of_no_budget(
    template: Template, for_trying: Template
) -> None:
    assert warnings_of(template) == {
        "no alarm address: nobody hears of held tasks (alarm_email in cdk.json)",
        "no budget: whoever may drop files may spend without limit (budget_usd_per_day)",
    }
    assert not [one for one in warnings_of(for_trying) if "alarm" in one]


def warnings_of(template: Template) -> set[str]:
    """The texts of the assembly's annotations, without their acknowledgement ids."""
    texts = [path.read_text() for path in template.path.parent.glob("*.json")]
    found = re.findall(r'"(no (?:alarm|budget)[^"]*?) \[ack: ', " ".join(texts))
    return set(found)


def test_no_deployment_overwrites_a_key_that_was_put_in_by_hand(template: Template) -> None:
    """CloudFormation writes a secret anew when its text in the template changes: this one must not,
    not by a space."""
    assert EMPTY_KEY == '{"api_key":""}'
    assert template.of_type("AWS::SecretsManager::Secret")["KieKey"]["SecretString"] == EMPTY_KEY
    generated = template.of_type("AWS::SecretsManager::Secret")["CallbackKey"]
    assert generated["GenerateSecretString"] == {
        "ExcludePunctuation": True,
        "GenerateStringKey": "k1",
        "PasswordLength": 48,
        "SecretStringTemplate": '{"current":"k1"}',
    }


def test_services_deliver_their_logs_to_names_that_need_no_room_in_the_log_policy(
    template: Template, for_trying: Template
) -> None:
    for made, stack in ((template, "Talkdrop"), (for_trying, "Talkdrop-dev")):
        groups = made.of_type("AWS::Logs::LogGroup")
        assert {one["LogGroupName"] for one in groups.values() if "LogGroupName" in one} == {
            f"/aws/vendedlogs/{stack}/http-api",
            f"/aws/vendedlogs/{stack}/workflow",
            f"/aws/vendedlogs/{stack}/piecesworkflow",
        }


def test_nothing_of_it_needs_a_custom_resource(template: Template) -> None:
    kinds = {one["Type"] for one in template.resources.values()}
    assert not [kind for kind in kinds if kind.startswith(("Custom::", "AWS::CloudFormation::"))]


def test_nothing_has_a_name_of_its_own_so_that_two_can_live_in_one_account(
    template: Template,
) -> None:
    names = {
        name: value
        for name, resource in template.resources.items()
        for word, value in resource.get("Properties", {}).items()
        if (word == "Name" or (word.endswith("Name") and word != "HandlerName"))
        and isinstance(value, str)
    }
    # A bus must have a name (the CDK makes it of the stack's own), an API has one for people only;
    # a policy's is of the role it is on, a stage's is of its API and metrics are named by AWS.
    unique = {
        "AWS::Events::EventBus",
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Stage",
        "AWS::IAM::Policy",
        "AWS::CloudWatch::Alarm",  # the subject of a mail; it begins with the stack's name
        "AWS::CloudWatch::Dashboard",
        "AWS::Logs::LogGroup",
    }
    assert {name for name in names if template.resources[name]["Type"] not in unique} == set()
    assert [one for one in names.values() if one.startswith("TalkdropBus")]


def test_a_stage_is_a_stack_of_its_own(template: Template, for_trying: Template) -> None:
    assert template.path.name == "Talkdrop.template.json"
    assert for_trying.path.name == "Talkdrop-dev.template.json"


def test_it_belongs_to_no_account_and_no_region_until_it_is_deployed(template: Template) -> None:
    assert not re.search(r"\b\d{12}\b", json.dumps(template.json["Resources"]))
    assert not re.search(r"(eu|us|ap)-[a-z]+-\d", json.dumps(template.json["Resources"]))


def test_the_template_holds_no_secret(template: Template) -> None:
    secrets = template.of_type("AWS::SecretsManager::Secret")
    assert json.loads(secrets["KieKey"]["SecretString"]) == {"api_key": ""}
    generated = secrets["CallbackKey"]["GenerateSecretString"]
    assert "SecretString" not in secrets["CallbackKey"]
    assert json.loads(generated["SecretStringTemplate"]) == {"current": "k1"}
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("k1", 48)


def test_cloudformations_own_linter_finds_nothing(template: Template, tmp_path: Path) -> None:
    """Two things that AWS takes and the linter does not know are put in its words: a partition that
    is filled in, and TimeoutSeconds as JSONata
    (https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html)."""
    linted: Json = json.loads(json.dumps(template.json))
    for one in linted["Resources"].values():
        if one["Type"] == "AWS::StepFunctions::StateMachine":
            _in_the_linters_words(one["Properties"])
    path = tmp_path / "template.json"
    path.write_text(json.dumps(linted))
    # W3005: the CDK says twice that a function waits for its role.
    linter = Path(sys.executable).parent / "cfn-lint"
    command = [
        str(linter),
        "--ignore-checks",
        "W3005",
        "--regions",
        "eu-central-1",
        "--",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _in_the_linters_words(machine: Json) -> None:
    workflow = json.loads(machine["DefinitionString"].replace("${Partition}", "aws"))
    for state in workflow["States"].values():
        if isinstance(state.get("TimeoutSeconds"), str):
            state["TimeoutSeconds"] = 60
    machine["DefinitionString"] = json.dumps(workflow)
    del machine["DefinitionSubstitutions"]["Partition"]


def test_every_key_of_cdk_json_is_one_that_is_read() -> None:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    ours = {key for key in context if not key.startswith("@aws-cdk/")}
    assert ours <= set(Context.model_fields)
    assert Context(**{key: context[key] for key in ours}) == Context()


def test_what_is_to_be_kept_for_ever_says_never(tmp_path: Path) -> None:
    made = template_in(tmp_path, archive_cold_after_days="never", archive_expire_days="never")
    rules = made.of_type("AWS::S3::Bucket")["Archive"]["LifecycleConfiguration"]["Rules"]
    assert not {"expiry", "colder"} & {rule["Id"] for rule in rules}


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"keep_data": False}, "the stage prod keeps its videos"),
        ({"options": {"defualt_provider": "kie"}}, "unknown option defualt_provider"),
        (
            {"inbox_expire_days": "never"},
            "inbox_expire_days must be less than the option row_retention_days",
        ),
        (
            {"inbox_expire_days": 30, "options": {"row_retention_days": 30}},
            "it would be paid again",
        ),
        ({"options": []}, "JSON object"),
        ({"options": {"submit_enabled": "false"}}, "submit_enabled is .* true or false"),
        ({"options": {"sweep_minutes": 2.5}}, "sweep_minutes is .* a whole number"),
        ({"options": {"waiting_hours": None}}, "waiting_hours is null: it must be a number"),
        ({"options": {"budget_usd_per_day": "much"}}, "budget_usd_per_day is .* a number, or null"),
        ({"options": {"lease_seconds": 30}}, "lease_seconds must lie between"),
        ({"options": {"link_hours": 400}}, "link_hours must be more than 0 and at most 168"),
        (
            {"options": {"default_provider": "nope"}},
            "default_provider names 'nope': the providers are comet, kie",
        ),
        ({"options": {"default_models": {"nope": "avatar"}}}, "default_models names 'nope'"),
        (
            {"options": {"default_models": {"kie": "nope"}}},
            "kie has no model 'nope': it has auto, infinitalk",
        ),
        ({"options": {"media_delivery": {"nope": "url"}}}, "media_delivery names 'nope'"),
        (
            {"options": {"media_delivery": {"kling": "upload"}}},
            "cannot be delivered to kling by 'upload': by url, base64",
        ),
        (
            {"options": {"polls": {"stedy": 60}}},
            "polls.stedy is 60: it takes first, steady, slow, slow_after",
        ),
        ({"options": {"polls": {"steady": 0}}}, "polls.steady is 0"),
        (
            {"options": {"rate_limits": {"nope": {"submits": 1, "seconds": 1}}}},
            "rate_limits names 'nope'",
        ),
        (
            {"options": {"rate_limits": {"kie": {"submits": 1}}}},
            "rate_limits.kie .* needs submits and seconds",
        ),
        (
            {"options": {"rate_limits": {"kie": {"submits": 0, "seconds": 10}}}},
            "whole numbers from 1",
        ),
        (
            {"options": {"rate_limits": {"kie": {"submits": 5, "seconds": 10, "runing": 2}}}},
            "may have running",
        ),
        ({"stage": "Prod!"}, "stage"),
        ({"log_days": 30}, "log_days must be 35 or more in the stage prod"),
        ({"providers": ["nope"]}, "providers names 'nope': the providers are comet, kie"),
        ({"providers": "kling,comet"}, "providers must hold 'kie', the option default_provider"),
        ({"alarm_email": "ops"}, "alarm_email"),
        ({"region": "europe"}, "region"),
        ({"lambda_quota": 0}, "lambda_quota"),
        ({"kms_key_arn": "alias/mine"}, "kms_key_arn"),
        (
            {
                "kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/a",
                "archive_replica_bucket_arn": "arn:aws:s3:::elsewhere",
            },
            "do not go together",
        ),
        ({"options": {"budget_usd_per_day": -1}}, "budget_usd_per_day is -1: it must lie between"),
        ({"options": {"sweep_minutes": 0}}, "sweep_minutes is 0"),
        ({"options": {"drop_delay_seconds": 901}}, "drop_delay_seconds is 901"),
        ({"options": {"waiting_hours": 0}}, "waiting_hours is 0"),
        ({"options": {"providers": "kie"}}, "providers is .* a list of texts"),
        ({"log_days": 31}, "log_days"),
        ({"callback_base_url": "http://plain.example.com"}, "callback_base_url"),
    ],
    ids=str,
)
def test_a_choice_that_cannot_be_is_refused_before_anything_is_built(
    chosen: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Context(**chosen)


def test_every_option_that_can_be_is_taken() -> None:
    rate_limit = {"submits": 5, "seconds": 10, "running": None}
    options = {
        "default_provider": "kling",
        "default_models": {"kie": "infinitalk/from-audio"},
        "submit_enabled": False,
        "budget_usd_per_day": 20,
        "budget_usd_per_month": "99.50",
        "rate_limits": {"kie": rate_limit},
        "link_hours": 0.5,
        "polls": {"first": 5, "steady": 2.5, "slow": 60, "slow_after": 600},
        "media_delivery": {"kling": "base64"},
    }
    taken = Context(options=options).parsed_options
    assert (taken.submit_enabled, taken.budget_usd_per_month, taken.rate_limits["kie"]) == (
        False,
        Decimal("99.50"),
        rate_limit,
    )


def test_a_misspelt_context_key_ends_the_synthesis_and_the_cdks_own_keys_do_not(
    tmp_path: Path,
) -> None:
    of_the_cli = {
        "acknowledged-issue-numbers": [34892],
        "cli-telemetry": False,
        "aws:cdk:enable-path-metadata": True,
    }
    assert synthesise(tmp_path / "right", **of_the_cli).returncode == 0
    assert list((tmp_path / "right").glob("*.template.json"))
    done = synthesise(tmp_path / "wrong", alarm_mail="a@example.com")
    assert done.returncode != 0
    assert "unknown context key alarm_mail: the keys are stage, account" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_choice_ends_the_synthesis_with_its_reason(tmp_path: Path) -> None:
    done = synthesise(tmp_path, keep_data="false")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "nothing was synthesised" in line]
    assert "the stage prod keeps its videos and its table" in line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.template.json"))
