"""The page's second home: nothing of it unless asked for, nothing of it public, and three groups
that may do what their name says."""

from __future__ import annotations

import json

import pytest

from functions.api.routes import ROUTES
from infra.context import Context
from infra.page import WEB
from tests.infra.conftest import template_in
from tests.infra.template import Json, Template

API = "arn:aws:execute-api:AWS::Region:AWS::AccountId:HttpApi/$default"
LOOKS = {
    "GET/tasks", "GET/tasks/*", "GET/tasks/*/video", "GET/tasks/*/portrait", "GET/tasks/*/voice",
    "GET/tasks/*/manifest", "GET/models", "GET/health", "GET/openapi.json", "GET/docs",
}  # fmt: skip
MAKES = {"POST/tasks", "POST/uploads", "POST/quote"}
DECIDES = {
    "POST/cancel", "POST/tasks/*/cancel", "POST/tasks/*/adopt", "POST/tasks/*/resubmit",
    "POST/tasks/*/fail",
}  # fmt: skip
ORIGIN = "https://PageDistribution"
KINDS = ("AWS::Cognito", "AWS::CloudFront", "Custom::", "AWS::Lambda::LayerVersion")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return template_in(tmp_path_factory.mktemp("page"), page=True)


def test_nothing_of_it_is_there_unless_it_is_chosen(template: Template, page: Template) -> None:
    assert not [one for one in template.resources.values() if one["Type"].startswith(KINDS)]
    assert set(page.json["Outputs"]) - set(template.json["Outputs"]) == {
        "PageUrl", "PageFirstPerson",
    }  # fmt: skip
    changed = {
        name.rstrip("0123456789ABCDEF")
        for name, one in template.resources.items()
        if page.resources[name] != one
    }
    assert changed == {"Inbox", "Archive", "HttpApi"}  # each by the origin that it lets in


@pytest.mark.parametrize(
    ("group", "routes"),
    [("Viewer", LOOKS), ("Maker", LOOKS | MAKES), ("Approver", LOOKS | MAKES | DECIDES)],
)
def test_a_group_may_call_these_routes_and_nothing_else(
    page: Template, group: str, routes: set[str]
) -> None:
    assert page.grants(f"PagePeople{group}Role") == {
        f"{API}/{route}": {"execute-api:Invoke"} for route in routes
    }


def test_the_groups_together_name_every_route() -> None:
    assert {route.replace(" ", "").replace("{task_id}", "*") for route in ROUTES} == (
        LOOKS | MAKES | DECIDES
    )


def test_who_is_in_no_group_gets_no_role_that_may_do_anything(page: Template) -> None:
    attached = page.the_only("AWS::Cognito::IdentityPoolRoleAttachment")
    assert {name: page.text(role) for name, role in attached["Roles"].items()} == {
        "authenticated": "PagePeopleNoneRole"
    }
    assert page.grants("PagePeopleNoneRole") == {}
    (mapping,) = attached["RoleMappings"].values()
    assert (mapping["Type"], mapping["AmbiguousRoleResolution"]) == ("Token", "Deny")
    groups = page.of_type("AWS::Cognito::UserPoolGroup").values()
    by_rank = sorted(groups, key=lambda one: int(one["Precedence"]))
    assert [(one["GroupName"], page.text(one["RoleArn"])) for one in by_rank] == [
        ("approver", "PagePeopleApproverRole"),
        ("maker", "PagePeopleMakerRole"),
        ("viewer", "PagePeopleViewerRole"),
    ]


def test_a_role_is_taken_only_by_who_signed_in_to_this_identity_pool(page: Template) -> None:
    roles = page.of_type("AWS::IAM::Role")
    for name in ("Viewer", "Maker", "Approver", "None"):
        role = roles[f"PagePeople{name}Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert statement["Principal"] == {"Federated": "cognito-identity.amazonaws.com"}
        audience = statement["Condition"]["StringEquals"]["cognito-identity.amazonaws.com:aud"]
        assert page.text(audience) == "PagePeopleIdentities"
        assert statement["Condition"]["ForAnyValue:StringLike"] == {
            "cognito-identity.amazonaws.com:amr": "authenticated"
        }
        assert role["MaxSessionDuration"] == 3600
    pool = page.the_only("AWS::Cognito::IdentityPool")
    assert (pool["AllowUnauthenticatedIdentities"], pool["AllowClassicFlow"]) == (False, False)


def test_a_person_is_added_by_hand_and_signs_in_with_a_second_factor(page: Template) -> None:
    pool = page.the_only("AWS::Cognito::UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
    assert pool["DeletionProtection"] == "ACTIVE"
    first = page.text(page.json["Outputs"]["PageFirstPerson"]["Value"])
    assert "admin-create-user --user-pool-id PagePeoplePool" in first
    assert "admin-add-user-to-group" in first


def test_a_browser_signs_in_by_code_alone_and_keeps_no_secret(page: Template) -> None:
    client = page.the_only("AWS::Cognito::UserPoolClient")
    assert client["AllowedOAuthFlows"] == ["code"]
    assert client["GenerateSecret"] is False
    for addresses in (client["CallbackURLs"], client["LogoutURLs"]):
        assert [page.text(one) for one in addresses] == [f"{ORIGIN}/"]


def test_its_bucket_is_read_by_its_distribution_alone(page: Template) -> None:
    bucket = page.of_type("AWS::S3::Bucket")["PageFiles"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    policy = page.of_type("AWS::S3::BucketPolicy")["PageFilesPolicy"]["PolicyDocument"]
    (allowed,) = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert (allowed["Action"], allowed["Principal"]) == (
        "s3:GetObject", {"Service": "cloudfront.amazonaws.com"},
    )  # fmt: skip
    source = allowed["Condition"]["StringEquals"]["AWS:SourceArn"]
    assert page.text(source).endswith(":distribution/PageDistribution")


def test_other_origins_are_let_in_nowhere(page: Template) -> None:
    buckets = page.of_type("AWS::S3::Bucket")
    rules = {
        name: [(rule["AllowedMethods"], *map(page.text, rule["AllowedOrigins"])) for rule in rules]
        for name, one in buckets.items()
        if (rules := one.get("CorsConfiguration", {}).get("CorsRules"))
    }
    assert rules == {"Inbox": [(["POST"], ORIGIN)], "Archive": [(["GET"], ORIGIN)]}
    cors = page.the_only("AWS::ApiGatewayV2::Api")["CorsConfiguration"]
    assert [page.text(one) for one in cors["AllowOrigins"]] == [ORIGIN]
    assert cors["AllowMethods"] == ["GET", "POST"]
    assert "AllowCredentials" not in cors
    keys = {one["AuthorizationType"] for one in page.of_type("AWS::ApiGatewayV2::Route").values()}
    assert keys == {"AWS_IAM", "NONE"}  # a preflight has no route of its own; NONE is the callback


def test_a_browser_runs_no_script_but_the_pages_own(page: Template) -> None:
    config = page.the_only("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    headers = config["SecurityHeadersConfig"]
    policy = directives(page.text(headers["ContentSecurityPolicy"]["ContentSecurityPolicy"]))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert policy["trusted-types"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "https://*.execute-api.AWS::Region.AWS::URLSuffix" in policy["connect-src"]
    assert headers["FrameOptions"]["FrameOption"] == "DENY"
    assert headers["ReferrerPolicy"]["ReferrerPolicy"] == "no-referrer"
    assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] == 31_536_000
    assert config["Name"]["Fn::Join"][1][-1] == {"Ref": "AWS::Region"}  # else two regions collide
    behaviour = page.the_only("AWS::CloudFront::Distribution")["DistributionConfig"]
    assert behaviour["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"


def directives(policy: str) -> dict[str, str]:
    return dict(one.strip().split(" ", 1) for one in policy.split(";"))


def test_the_page_learns_where_it_is_and_its_own_policy_names_these_hosts_alone(
    page: Template,
) -> None:
    config = json.loads(deployed(page, 2, "config.json"))
    cognito = config["cognito"]
    assert config["rehearsal"] is config["embedded"] is False
    assert cognito["identity_pool"] == "PagePeopleIdentities"
    assert cognito["login"] == "https://PagePeoplePoolSignIn.auth.AWS::Region.amazoncognito.com"
    index = deployed(page, 1, "index.html")
    policy = directives(index.partition('Policy" content="')[2].partition('"')[0])
    hosts = [cognito[name] for name in ("api", "login", "identity")]
    assert policy["connect-src"] == " ".join(["'self'", *hosts, "https://Inbox https://Archive"])
    assert policy["img-src"] == policy["media-src"] == "'self' https://Inbox https://Archive"
    assert index.replace(index.splitlines()[4] + "\n", "") == (WEB / "index.html").read_text()


def deployed(page: Template, source: int, name: str) -> str:
    """A file of this source of the deployment, as it lies in the bucket."""
    made: Json = page.the_only("Custom::CDKBucketDeployment")
    asset = str(made["SourceObjectKeys"][source]).removesuffix(".zip")
    text = (page.path.parent / f"asset.{asset}" / name).read_text()
    for marker, value in made["SourceMarkers"][source].items():
        text = text.replace(marker, page.text(value))
    return text


def test_every_file_of_the_page_but_the_index_is_deployed_as_it_is(page: Template) -> None:
    made: Json = page.the_only("Custom::CDKBucketDeployment")
    asset = str(made["SourceObjectKeys"][0]).removesuffix(".zip")
    files = {one.name: one.read_bytes() for one in (page.path.parent / f"asset.{asset}").iterdir()}
    assert files == {
        one.name: one.read_bytes()
        for one in WEB.iterdir()
        if one.is_file() and one.name != "index.html"
    }
    assert made["SystemMetadata"] == {"cache-control": "no-cache"}


def test_it_does_not_go_with_tokens_of_another_issuer() -> None:
    with pytest.raises(ValueError, match="page and jwt_issuer do not go together"):
        Context(page=True, jwt_issuer="https://login.example.com", jwt_audience=["a"])
