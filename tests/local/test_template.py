"""The transform of the template: pure, and everything it changes is on its list."""

from __future__ import annotations

import copy
import json
from typing import Any

from local.aws.template import Change, localise, summary

ENDPOINT = "http://127.0.0.1:4566"


def template(**resources: Any) -> dict[str, Any]:
    return {"Resources": resources}


def test_what_the_emulator_takes_is_deployed_as_it_was_synthesised() -> None:
    given = template(
        Tasks={"Type": "AWS::DynamoDB::Table", "Properties": {"BillingMode": "PAY_PER_REQUEST"}},
        Alarm={
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"MetricName": "Errors"},
            "DependsOn": ["Tasks"],
        },
    )
    ours, changes = localise(given, ENDPOINT)
    assert ours["Resources"] == given["Resources"]
    assert changes == []


def test_the_template_it_was_given_stays_as_it_is() -> None:
    given = template(
        Submit={"Type": "AWS::Lambda::Function", "Properties": {"Runtime": "python3.13"}}
    )
    before = copy.deepcopy(given)
    localise(given, ENDPOINT)
    assert given == before


def test_functions_run_on_this_machine() -> None:
    given = template(
        Submit={"Type": "AWS::Lambda::Function", "Properties": {"Runtime": "python3.13"}}
    )
    ours, changes = localise(given, ENDPOINT)
    assert ours["Resources"]["Submit"]["Properties"]["Runtime"] == "provided.al2023"
    assert [change.where for change in changes] == ["Submit"]


def test_what_is_dropped_is_forgotten_by_the_others_too() -> None:
    given = template(
        Named={"Type": "AWS::CDK::Metadata"},
        Sum={
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"Metrics": [{"Expression": "a + b"}]},
        },
        Rule={"Type": "AWS::Events::Rule", "Properties": {}, "DependsOn": ["Named", "Bus"]},
        Bus={"Type": "AWS::Events::EventBus", "Properties": {}, "DependsOn": "Named"},
    )
    given["Outputs"] = {"Gone": {"Value": {"Ref": "Named"}}, "Kept": {"Value": {"Ref": "Bus"}}}
    ours, changes = localise(given, ENDPOINT)
    assert set(ours["Resources"]) == {"Rule", "Bus"}
    assert ours["Resources"]["Rule"]["DependsOn"] == ["Bus"]
    assert "DependsOn" not in ours["Resources"]["Bus"]
    assert set(ours["Outputs"]) == {"Kept"}
    assert {change.where for change in changes} == {"Named", "Sum"}


def test_an_unknown_type_is_left_for_the_deployment_to_refuse() -> None:
    given = template(New={"Type": "AWS::Brand::New", "Properties": {}})
    ours, changes = localise(given, ENDPOINT)
    assert ours["Resources"] == given["Resources"]
    assert changes == []


def test_a_secret_is_named_by_its_arn_wherever_it_is_named() -> None:
    given = template(
        Key={"Type": "AWS::SecretsManager::Secret", "Properties": {}},
        Policy={
            "Type": "AWS::IAM::Policy",
            "Properties": {"Statement": [{"Resource": [{"Ref": "Key"}]}]},
        },
        Submit={
            "Type": "AWS::Lambda::Function",
            "Properties": {"Environment": {"Variables": {"S": {"Ref": "Key"}}}},
        },
    )
    ours, changes = localise(given, ENDPOINT)
    arn = {"Fn::GetAtt": ["Key", "Id"]}
    assert ours["Resources"]["Policy"]["Properties"]["Statement"][0]["Resource"] == [arn]
    assert ours["Resources"]["Submit"]["Properties"]["Environment"]["Variables"]["S"] == arn
    assert [change.where for change in changes] == ["Key"]


def test_only_the_statement_that_refuses_plain_http_goes() -> None:
    insecure = {
        "Effect": "Deny",
        "Action": "s3:*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    other = {"Effect": "Deny", "Action": "s3:DeleteObject"}
    given = template(
        Inbox={"Type": "AWS::S3::Bucket", "Properties": {}, "DependsOn": ["Closed"]},
        Closed={
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"PolicyDocument": {"Statement": [insecure]}},
        },
        Mixed={
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"PolicyDocument": {"Statement": [insecure, other]}},
        },
    )
    ours, changes = localise(given, ENDPOINT)
    assert "Closed" not in ours["Resources"]
    assert "DependsOn" not in ours["Resources"]["Inbox"]
    assert ours["Resources"]["Mixed"]["Properties"]["PolicyDocument"]["Statement"] == [other]
    named = {change.where for change in changes if "name" in change.what}
    assert {change.where for change in changes} - named == {"Closed", "Mixed"}


def test_buckets_have_names_that_stay() -> None:
    given = template(
        Inbox1A2B3C4D={"Type": "AWS::S3::Bucket"},
        Own={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "mine"}},
    )
    ours, changes = localise(given, ENDPOINT)
    names = [one["Properties"]["BucketName"] for one in ours["Resources"].values()]
    assert names == ["talkdrop-inbox", "mine"]
    assert [change.where for change in changes] == ["Inbox1A2B3C4D"]


def test_the_api_is_addressed_by_a_path_of_the_emulator() -> None:
    long = {
        "Fn::Join": [
            "",
            ["https://", {"Ref": "Api"}, ".execute-api.eu-central-1.amazonaws.com", "/"],
        ]
    }
    given = template(Api={"Type": "AWS::ApiGatewayV2::Api", "Properties": {}})
    given["Outputs"] = {
        "Short": {"Value": {"Fn::GetAtt": ["Api", "ApiEndpoint"]}},
        "Long": {"Value": long},
    }
    ours, changes = localise(given, ENDPOINT)
    assert ours["Resources"]["Api"]["Properties"]["Tags"] == {"ms-custom-id": "talkdrop"}
    assert "an API id that is the same every time" in {one.what for one in changes}
    place = [f"{ENDPOINT}/_aws/execute-api/", {"Ref": "Api"}]
    assert ours["Outputs"]["Short"]["Value"] == {"Fn::Join": ["", [*place, "/$default"]]}
    assert ours["Outputs"]["Long"]["Value"] == {"Fn::Join": ["", [*place, "/$default/"]]}


def test_options_are_laid_over_the_functions_own() -> None:
    variables = {"TALKDROP_OPTIONS": '{"callbacks": true, "waiting_hours": 24}'}
    given = template(
        Submit={
            "Type": "AWS::Lambda::Function",
            "Properties": {"Environment": {"Variables": variables}},
        }
    )
    ours, changes = localise(given, ENDPOINT, {"callbacks": False})
    options = ours["Resources"]["Submit"]["Properties"]["Environment"]["Variables"][
        "TALKDROP_OPTIONS"
    ]
    assert json.loads(options) == {"callbacks": False, "waiting_hours": 24}
    assert len(changes) == 1


def test_changes_are_summed_up_in_few_lines() -> None:
    changes = [Change(name, "runtime") for name in ("a", "b", "c")] + [Change("Bus", "dropped")]
    assert summary(changes) == ["runtime (3)", "dropped (Bus)"]
