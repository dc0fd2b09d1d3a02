"""The HTTP door."""

from __future__ import annotations

import json

from tests.infra.template import Template


def test_whoever_signs_may_use_the_tasks_api_and_only_a_bell_needs_no_signature(
    template: Template,
) -> None:
    routes = {
        one["RouteKey"]: one["AuthorizationType"]
        for one in template.of_type("AWS::ApiGatewayV2::Route").values()
    }
    assert routes == {
        "POST /tasks": "AWS_IAM",
        "GET /tasks": "AWS_IAM",
        "GET /tasks/{task_id}": "AWS_IAM",
        "POST /callbacks/{provider}/{task_id}/{attempt}/{signature}": "NONE",
    }


def test_a_route_leads_to_its_function(template: Template) -> None:
    integrations = template.of_type("AWS::ApiGatewayV2::Integration")
    for route in template.of_type("AWS::ApiGatewayV2::Route").values():
        integration = integrations[template.text(route["Target"]).removeprefix("integrations/")]
        expected = "CallbackFunction" if "/callbacks/" in route["RouteKey"] else "ApiFunction"
        assert template.text(integration["IntegrationUri"]) == expected
        assert integration["PayloadFormatVersion"] == "2.0"


def test_strangers_are_throttled(template: Template) -> None:
    settings = template.the_only("AWS::ApiGatewayV2::Stage")["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == 200
    assert settings["ThrottlingBurstLimit"] == 400


def test_the_access_log_names_the_route_and_never_the_path_which_is_a_callbacks_key(
    template: Template,
) -> None:
    settings = template.the_only("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]
    written = set(json.loads(settings["Format"]).values())
    assert "$context.routeKey" in written
    assert not [one for one in written if "path" in one.lower()]
    assert template.of_type("AWS::Logs::LogGroup")["HttpAccessLog"]["RetentionInDays"] == 30
