"""The HTTP API."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from functions.api.routes import ROUTES
from infra.context import Context, ContextError
from tests.infra.conftest import template_in
from tests.infra.template import Template

FUNCTIONS = Path(__file__).parents[2] / "functions"
DECORATORS = {f"app.{verb}" for verb in ("get", "post", "put", "patch", "delete")}


def test_the_tasks_api_needs_a_signature_and_only_a_callback_does_not(
    template: Template,
) -> None:
    routes = {
        one["RouteKey"]: one["AuthorizationType"]
        for one in template.of_type("AWS::ApiGatewayV2::Route").values()
    }
    assert routes == {
        **dict.fromkeys(ROUTES, "AWS_IAM"),
        "POST /callbacks/{provider}/{task_id}/{attempt}/{signature}": "NONE",
    }


def test_every_route_of_the_api_function_is_one_of_the_http_api(template: Template) -> None:
    keys = {one["RouteKey"] for one in template.of_type("AWS::ApiGatewayV2::Route").values()}
    assert routes_of(FUNCTIONS / "api") == {key for key in keys if "/callbacks/" not in key}


def routes_of(directory: Path) -> set[str]:
    """What the API registers by `@app.get("/…")`, in the words of API Gateway."""
    found = set()
    for path in directory.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) in DECORATORS:
                    route = ast.literal_eval(call.args[0]).replace("<", "{").replace(">", "}")
                    found.add(f"{ast.unparse(call.func)[4:].upper()} {route}")
    return found


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
    assert template.of_type("AWS::Logs::LogGroup")["HttpAccessLog"]["RetentionInDays"] == 60


ISSUER = "https://login.example.com/tenant"


def test_with_an_issuer_every_tasks_route_takes_its_tokens_and_nothing_else(tmp_path: Path) -> None:
    made = template_in(tmp_path, jwt_issuer=ISSUER, jwt_audience="talkdrop,talkdrop-page")
    routes = made.of_type("AWS::ApiGatewayV2::Route").values()
    (authorizer,) = made.of_type("AWS::ApiGatewayV2::Authorizer").items()
    assert {one["RouteKey"]: one["AuthorizationType"] for one in routes} == {
        **dict.fromkeys(ROUTES, "JWT"),
        "POST /callbacks/{provider}/{task_id}/{attempt}/{signature}": "NONE",
    }
    with_token = [one for one in routes if one["AuthorizationType"] == "JWT"]
    assert {made.text(one["AuthorizerId"]) for one in with_token} == {authorizer[0]}
    assert authorizer[1]["AuthorizerType"] == "JWT"
    assert authorizer[1]["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer[1]["JwtConfiguration"] == {
        "Issuer": ISSUER, "Audience": ["talkdrop", "talkdrop-page"],
    }  # fmt: skip


def test_without_an_issuer_there_is_no_authorizer_but_iam(template: Template) -> None:
    assert not template.of_type("AWS::ApiGatewayV2::Authorizer")


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"jwt_issuer": ISSUER}, "jwt_audience"),
        ({"jwt_audience": ["talkdrop"]}, "jwt_issuer"),
        ({"jwt_issuer": "http://login.example.com", "jwt_audience": ["a"]}, "jwt_issuer"),
        ({"jwt_issuer": "login.example.com", "jwt_audience": ["a"]}, "jwt_issuer"),
        ({"jwt_issuer": f"{ISSUER}?a=b", "jwt_audience": ["a"]}, "jwt_issuer"),
        ({"jwt_issuer": ISSUER, "jwt_audience": "a,"}, "jwt_audience"),
    ],
)  # fmt: skip
def test_an_issuer_that_cannot_be_ends_the_synthesis(context: Any, named: str) -> None:
    with pytest.raises(ContextError, match=named):
        Context.of(App(context=context).node)
