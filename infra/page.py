"""The page's second home: CloudFront in front of a private bucket, people who sign in at Cognito,
and three roles by which their browsers sign for the tasks API. Off unless the context's `page` is
true.

What a person may do is decided by IAM alone: the page only leaves out what would be refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from aws_cdk import Aws, CfnOutput, Duration, Fn
from aws_cdk import aws_apigatewayv2 as apigw
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from functions.api.routes import ROUTES
from infra import storage
from infra.context import Context

WEB = Path(__file__).parent.parent / "web"

READ = tuple(route for route in ROUTES if route.startswith("GET "))
MAKE = ("POST /tasks", "POST /uploads", "POST /quote")
# By group, the least first: what it may call. web/session.js shows no more than this.
GROUPS = {"viewer": READ, "maker": (*READ, *MAKE), "approver": ROUTES}

# What the page's signed requests carry beyond what a browser lets any page send.
SIGNED_HEADERS = (
    "authorization", "content-type", "idempotency-key", "x-amz-date", "x-amz-security-token",
)  # fmt: skip
# Hosts of this region and no narrower: the distribution would wait for the API and the inbox, and
# these wait for it, since they name its origin. `index.html` narrows it (`_narrowed`).
_HOSTS = {
    "api": "https://*.execute-api.{region}.{suffix}",
    "files": "https://*.s3.{region}.{suffix}",
    "login": "https://*.auth.{region}.amazoncognito.com",
    "identity": "https://cognito-identity.{region}.{suffix}",
}
_ALWAYS = (
    "base-uri 'none'; form-action 'none'; object-src 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


class Page(Construct):
    """`url` is its address, with a slash at the end."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        context: Context,
        api: apigw.HttpApi,
        inbox: s3.Bucket,
        archive: s3.Bucket,
    ) -> None:
        super().__init__(scope, name)
        self._context, self._api = context, api
        self._inbox, self._archive = inbox, archive
        self._bucket = self._private_bucket()
        distribution = self._distribution()
        self._origin = f"https://{distribution.distribution_domain_name}"
        self.url = f"{self._origin}/"
        self._users = self._user_pool()
        self._client = self._sign_in()
        self._identities = self._identity_pool()
        self._groups()
        self._let_the_page_in()
        self._put_files()
        self._output()

    def _private_bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Files",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="old-versions", noncurrent_version_expiration=Duration.days(30)
                )
            ],
            removal_policy=storage.removal(self._context),
        )

    def _distribution(self) -> cloudfront.Distribution:
        """Files are checked for news at each visit: the bucket says so (`no-cache`), and a deployed
        page needs no invalidation."""
        access = cloudfront.S3OriginAccessControl(
            self, "Access", origin_access_control_name=self._name
        )
        return cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"{self._context.stack_name}: the page",
            default_root_object="index.html",
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(
                    self._bucket, origin_access_control=access
                ),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                response_headers_policy=self._headers(),
            ),
        )

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        hosts = {
            name: host.format(region=Aws.REGION, suffix=Aws.URL_SUFFIX)
            for name, host in _HOSTS.items()
        }
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self._name,
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=f"{policy(**hosts)}; frame-ancestors 'none'",
                    override=True,
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(365), override=True
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=name, value=value, override=True)
                    for name, value in (
                        ("Cross-Origin-Opener-Policy", "same-origin"),
                        ("Cross-Origin-Resource-Policy", "same-origin"),
                    )
                ]
            ),
        )

    def _user_pool(self) -> cognito.UserPool:
        """Nobody signs up: a person is added by who runs Talkdrop. A password opens nothing
        without the code of an authenticator app, since a session may spend money."""
        return cognito.UserPool(
            self,
            "People",
            feature_plan=cognito.FeaturePlan.LITE,
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            sign_in_case_sensitive=False,
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            password_policy=cognito.PasswordPolicy(
                min_length=12,
                require_digits=True,
                require_lowercase=True,
                require_uppercase=True,
                require_symbols=True,
                temp_password_validity=Duration.days(3),
            ),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            deletion_protection=self._context.keep_data,
            removal_policy=storage.removal(self._context),
        )

    def _sign_in(self) -> cognito.UserPoolClient:
        """Cognito's own sign-in page, by authorization code with PKCE: a browser keeps no secret.
        https://docs.aws.amazon.com/cognito/latest/developerguide/using-pkce-in-authorization-code.html
        """
        # A domain's name is one for all accounts of the region: the stack's own UUID makes it so.
        stack_id = Fn.select(2, Fn.split("/", Aws.STACK_ID))
        prefix = Fn.join("-", ["talkdrop", stack_id])
        self._domain = self._users.add_domain(
            "SignIn", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix)
        )
        return self._users.add_client(
            "Browser",
            generate_secret=False,
            auth_flows=cognito.AuthFlow(user_srp=True),
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=[self.url],
                logout_urls=[self.url],
            ),
            supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
            prevent_user_existence_errors=True,
            id_token_validity=Duration.hours(1),
            access_token_validity=Duration.hours(1),
            refresh_token_validity=Duration.hours(12),
        )

    def _identity_pool(self) -> cognito.CfnIdentityPool:
        provider = cognito.CfnIdentityPool.CognitoIdentityProviderProperty(
            client_id=self._client.user_pool_client_id,
            provider_name=self._users.user_pool_provider_name,
            server_side_token_check=True,
        )
        return cognito.CfnIdentityPool(
            self,
            "Identities",
            allow_unauthenticated_identities=False,
            allow_classic_flow=False,
            cognito_identity_providers=[provider],
        )

    def _groups(self) -> None:
        """The role comes with the token, from the person's group; who is in none gets none."""
        for rank, (group, routes) in enumerate(reversed(GROUPS.items())):
            cognito.CfnUserPoolGroup(
                self,
                group.capitalize(),
                user_pool_id=self._users.user_pool_id,
                group_name=group,
                precedence=rank,
                role_arn=self._role(group.capitalize(), routes).role_arn,
            )
        mapping = cognito.CfnIdentityPoolRoleAttachment.RoleMappingProperty(
            type="Token",
            ambiguous_role_resolution="Deny",
            identity_provider=f"{self._users.user_pool_provider_name}:"
            f"{self._client.user_pool_client_id}",
        )
        cognito.CfnIdentityPoolRoleAttachment(
            self,
            "RoleOfTheGroup",
            identity_pool_id=self._identities.ref,
            roles={"authenticated": self._role("NoGroup", ()).role_arn},
            role_mappings={"people": mapping},
        )

    def _role(self, name: str, routes: tuple[str, ...]) -> iam.Role:
        """https://docs.aws.amazon.com/cognito/latest/developerguide/role-trust-and-permissions.html"""
        role = iam.Role(
            self,
            f"{name}Role",
            description=f"{self._context.stack_name}: a browser of the group {name.lower()}",
            max_session_duration=Duration.hours(1),
            assumed_by=iam.WebIdentityPrincipal(
                "cognito-identity.amazonaws.com",
                {
                    "StringEquals": {"cognito-identity.amazonaws.com:aud": self._identities.ref},
                    "ForAnyValue:StringLike": {
                        "cognito-identity.amazonaws.com:amr": "authenticated"
                    },
                },
            ),
        )
        if routes:
            role.add_to_policy(
                iam.PolicyStatement(
                    actions=["execute-api:Invoke"], resources=[self._arn(one) for one in routes]
                )
            )
        return role

    def _arn(self, route: str) -> str:
        method, path = route.split()
        return self._api.arn_for_execute_api(
            method, path.replace("{task_id}", "*"), "$default"
        )

    def _let_the_page_in(self) -> None:
        """CORS for its origin alone: the API, the inbox for uploads, the archive for manifests.
        API Gateway answers a preflight itself and asks it for no signature."""
        cast(
            apigw.CfnApi, self._api.node.default_child
        ).cors_configuration = apigw.CfnApi.CorsProperty(
            allow_origins=[self._origin],
            allow_methods=["GET", "POST"],
            allow_headers=list(SIGNED_HEADERS),
            max_age=3600,
        )
        for bucket, method in (
            (self._inbox, s3.HttpMethods.POST),
            (self._archive, s3.HttpMethods.GET),
        ):
            bucket.add_cors_rule(
                allowed_methods=[method], allowed_origins=[self._origin], max_age=3600
            )

    def _put_files(self) -> None:
        """`web/` as it is, but for the narrower policy in `index.html`, and the one file by which
        the page learns where it is."""
        index = (WEB / "index.html").read_text()
        deployment.BucketDeployment(
            self,
            "Web",
            destination_bucket=self._bucket,
            sources=[
                deployment.Source.asset(str(WEB), exclude=["index.html"]),
                deployment.Source.data("index.html", self._narrowed(index)),
                deployment.Source.json_data("config.json", self._config()),
            ],
            cache_control=[deployment.CacheControl.no_cache()],
            retain_on_delete=self._context.keep_data,
            memory_limit=512,
        )

    def _narrowed(self, index: str) -> str:
        """What a header of the distribution cannot name, as this page's own policy: both hold."""
        files = " ".join(
            f"https://{bucket.bucket_regional_domain_name}"
            for bucket in (self._inbox, self._archive)
        )
        narrow = policy(
            api=self._api.api_endpoint, files=files, login=self._login, identity=self._identity
        )
        meta = f'<meta http-equiv="Content-Security-Policy" content="{narrow}">'
        return index.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}', 1)

    def _config(self) -> dict[str, object]:
        """What `talkdrop page` answers as config.json, and `cognito`, by which web/home.js tells
        the homes apart. Nothing of it is secret."""
        return {
            "stack": self._context.stack_name,
            "region": Aws.REGION,
            "embedded": False,
            "samples": False,
            "rehearsal": False,
            "cognito": {
                "api": self._api.api_endpoint,
                "login": self._login,
                "client": self._client.user_pool_client_id,
                "identity": self._identity,
                "identity_pool": self._identities.ref,
                "user_pool": self._users.user_pool_provider_name,
            },
        }

    @property
    def _name(self) -> str:
        """CloudFront's names are one for all regions of the account."""
        return f"{self._context.stack_name}-page-{Aws.REGION}"

    @property
    def _login(self) -> str:
        return f"https://{self._domain.domain_name}.auth.{Aws.REGION}.amazoncognito.com"

    @property
    def _identity(self) -> str:
        return _HOSTS["identity"].format(region=Aws.REGION, suffix=Aws.URL_SUFFIX)

    def _output(self) -> None:
        pool = self._users.user_pool_id
        create = f"aws cognito-idp admin-create-user --user-pool-id {pool} --username YOUR_EMAIL"
        verified = "--user-attributes Name=email,Value=YOUR_EMAIL Name=email_verified,Value=true"
        add = (
            f"aws cognito-idp admin-add-user-to-group --user-pool-id {pool} --username YOUR_EMAIL "
            "--group-name approver"
        )
        stack = self.node.scope
        assert stack is not None
        CfnOutput(stack, "PageUrl", value=self.url)
        CfnOutput(stack, "PageFirstPerson", value=f"{create} {verified} && {add}")


def policy(*, api: str, files: str, login: str, identity: str) -> str:
    """The content security policy: scripts of this origin alone, and only these hosts beside it."""
    return (
        f"default-src 'self'; connect-src 'self' {api} {login} {identity} {files}; "
        f"img-src 'self' {files}; media-src 'self' {files}; {_ALWAYS}"
    )
