"""Each route of the tasks API against each caller who may not: API Gateway refuses before anything
of ours runs. The emulator checks signatures and IAM's policies. It cannot show what AWS makes of a
bearer token at a route behind IAM (it lets it pass), nor the JWT authorizer, which only the
template's tests hold (tests/infra/test_http_api.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from functions.api.routes import ROUTES
from local.aws.cloud import REGION
from tests.journey.scene import Scene

pytestmark = pytest.mark.journey

TASK = "0" * 32
NO_RIGHT, VIEWER = "no-right", "viewer"


@pytest.fixture(scope="module")
def people(scene: Scene) -> Iterator[dict[str, Credentials]]:
    """A user of this account without any right, and one who may only look."""
    iam = scene.environment.cloud.client("iam")
    found = {}
    look = "arn:aws:execute-api:*:*:*/*/GET/*"
    rights = {NO_RIGHT: "arn:aws:execute-api:*:*:other/*", VIEWER: look}
    for name, resource in rights.items():
        allowed = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="api", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    yield found
    for name in rights:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="api")
        iam.delete_user(UserName=name)


def signed(
    method: str, url: str, credentials: Credentials, *, service: str = "execute-api"
) -> dict[str, str]:
    request = AWSRequest(method, url, data=b"{}" if method == "POST" else b"")
    auth.SigV4Auth(credentials, service, REGION).add_auth(request)
    return dict(request.headers)


def ask(scene: Scene, route: str, headers: dict[str, str]) -> int:
    method, url = where(scene, route)
    content = b"{}" if method == "POST" else b""
    return httpx.request(method, url, headers=headers, content=content, timeout=60).status_code


def where(scene: Scene, route: str) -> tuple[str, str]:
    method, path = route.replace("{task_id}", TASK).split()
    return method, f"{scene.environment.stack.outputs['ApiUrl']}{path}"


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_refuses_whoever_may_not(
    scene: Scene, people: dict[str, Credentials], route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, url = where(scene, route)
    wrong_secret = Credentials(people[VIEWER].access_key, "wrong" * 8)
    stranger = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    other_path = signed(method, f"{url}x", people[VIEWER])
    refused = {
        "unsigned": {},
        "wrong secret": signed(method, url, wrong_secret),
        "unknown key": signed(method, url, stranger),
        "another path's signature": other_path,
        "another service's signature": signed(method, url, people[VIEWER], service="s3"),
        "no right": signed(method, url, people[NO_RIGHT]),
    }
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: long_ago)
    refused["an expired signature"] = signed(method, url, people[VIEWER])
    assert {who: ask(scene, route, headers) for who, headers in refused.items()} == dict.fromkeys(
        refused, 403
    )


@pytest.mark.parametrize("route", ROUTES)
def test_who_may_only_look_may_change_nothing(
    scene: Scene, people: dict[str, Credentials], route: str
) -> None:
    method, url = where(scene, route)
    status = ask(scene, route, signed(method, url, people[VIEWER]))
    assert (status == 403) == (method == "POST")
    assert status < 500
