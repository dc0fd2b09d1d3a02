"""The HTTP API: the tasks routes behind IAM or a token, and the callback route, whose URL holds its
MAC."""

from __future__ import annotations

import json
from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigw
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_logs as logs
from constructs import Construct

from functions.api.routes import ROUTES
from infra.context import Context
from infra.function import Function, log_retention

# The route and not the path: the path of a callback is its key.
LOGGED = (
    "requestId",
    "requestTime",
    "identity.sourceIp",
    "routeKey",
    "status",
    "responseLatency",
    "error.message",
)
CALLBACK = "/callbacks/{provider}/{task_id}/{attempt}/{signature}"


class TaskHttpApi(Construct):
    """`url` has no slash at its end; `callback_base_url` is the same, or a domain of one's own in
    front of it."""

    def __init__(self, scope: Construct, name: str, *, context: Context) -> None:
        super().__init__(scope, name)
        self.api = apigw.HttpApi(self, "Api", description="Talkdrop", create_default_stage=False)
        log_group = logs.LogGroup(
            self,
            "AccessLog",
            # Delivery to a name of this prefix needs no room in the account's log policy:
            # https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
            log_group_name=f"/aws/vendedlogs/{context.stack_name}/http-api",
            retention=log_retention(context.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        stage = apigw.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            # The callback route is open: this bounds what a flood of requests can cost. A provider
            # that calls back for a thousand tasks at once fits in.
            throttle=apigw.ThrottleSettings(rate_limit=200, burst_limit=400),
        )
        cast(
            apigw.CfnStage, stage.node.default_child
        ).access_log_settings = apigw.CfnStage.AccessLogSettingsProperty(
            destination_arn=log_group.log_group_arn,
            format=json.dumps({name: f"$context.{name}" for name in LOGGED}),
        )
        self.url = self.api.api_endpoint
        self.callback_base_url = context.callback_base_url or self.url
        self.authorizer = _authorizer(context)

    def route(self, *, api: Function, callback: Function) -> None:
        tasks = integrations.HttpLambdaIntegration("Tasks", api)
        for method, path in (route.split() for route in ROUTES):
            self.api.add_routes(
                path=path,
                methods=[apigw.HttpMethod[method]],
                integration=tasks,
                authorizer=self.authorizer,
            )
        self.api.add_routes(
            path=CALLBACK,
            methods=[apigw.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Callback", callback),
        )


def _authorizer(context: Context) -> apigw.IHttpRouteAuthorizer:
    """API Gateway checks a token's signature, issuer, audience and times:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html"""
    if not context.jwt_issuer:
        return authorizers.HttpIamAuthorizer()
    return authorizers.HttpJwtAuthorizer(
        "Token", context.jwt_issuer, jwt_audience=list(context.jwt_audience)
    )
