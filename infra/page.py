"""The page's second home: `web/` in a private bucket behind CloudFront, for people who sign in
(infra/people.py). Off unless the context's `page` is true."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from aws_cdk import Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_apigatewayv2 as apigw
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from infra import storage
from infra.context import Context
from infra.people import People

WEB = Path(__file__).parent.parent / "web"

# What the page's signed requests carry beyond what a browser lets any page send.
SIGNED_HEADERS = (
    "authorization", "content-type", "idempotency-key", "x-amz-date", "x-amz-security-token",
)  # fmt: skip
# Hosts of the region and no narrower: the distribution would wait for the API and the inbox, and
# these wait for it, since they name its origin. `index.html` narrows it (`_narrowed`).
_WIDE = {
    "api": f"https://*.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}",
    "files": f"https://*.s3.{Aws.REGION}.{Aws.URL_SUFFIX}",
    "login": f"https://*.auth.{Aws.REGION}.amazoncognito.com",
    "identity": f"https://cognito-identity.{Aws.REGION}.{Aws.URL_SUFFIX}",
}
_SAME_ORIGIN = ("Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy")
_YEAR = Duration.days(365)


def policy(*, api: str, files: str, login: str, identity: str) -> str:
    """The content security policy: scripts of this origin alone, and only these hosts beside it;
    the browser itself refuses to parse a text as HTML."""
    return (
        f"default-src 'self'; connect-src 'self' {api} {login} {identity} {files}; "
        f"img-src 'self' {files}; media-src 'self' {files}; base-uri 'none'; form-action 'none'; "
        "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


class Page(Construct):
    """Its address is the output PageUrl."""

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
        self._files = self._private_bucket()
        self._origin = f"https://{self._distribution().distribution_domain_name}"
        url = f"{self._origin}/"
        self._people = People(self, "People", context=context, api=api, page_url=url)
        self._allow_its_origin()
        self._put_files()
        CfnOutput(Stack.of(self), "PageUrl", value=url)
        CfnOutput(Stack.of(self), "PageFirstPerson", value=self._people.how_to_add_one)

    @property
    def _name(self) -> str:
        """CloudFront's names are one for all regions of the account."""
        return f"{self._context.stack_name}-page-{Aws.REGION}"

    def _private_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Files",
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            removal_policy=storage.removal(self._context),
        )
        days = Duration.days(self._context.old_versions_days)
        bucket.add_lifecycle_rule(id="old-versions", noncurrent_version_expiration=days)
        return bucket

    def _distribution(self) -> cloudfront.Distribution:
        """Its files say `no-cache`, so CloudFront and the browser ask for news at each visit, and a
        deployment has nothing to invalidate."""
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
                    self._files, origin_access_control=access
                ),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                response_headers_policy=self._headers(),
            ),
        )

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        wide = f"{policy(**_WIDE)}; frame-ancestors 'none'"
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self._name,
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=wide, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=_YEAR, override=True
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=name, value="same-origin", override=True)
                    for name in _SAME_ORIGIN
                ]
            ),
        )

    def _allow_its_origin(self) -> None:
        """CORS for it alone: at the API, at the inbox for uploads, at the archive for manifests.
        API Gateway answers a preflight itself and asks it for no signature."""
        cast(
            apigw.CfnApi, self._api.node.default_child
        ).cors_configuration = apigw.CfnApi.CorsProperty(
            allow_origins=[self._origin],
            allow_methods=["GET", "POST"],
            allow_headers=list(SIGNED_HEADERS),
            max_age=3600,
        )
        post, get = s3.HttpMethods.POST, s3.HttpMethods.GET
        for bucket, method in ((self._inbox, post), (self._archive, get)):
            bucket.add_cors_rule(
                allowed_methods=[method], allowed_origins=[self._origin], max_age=3600
            )

    def _put_files(self) -> None:
        """`web/` as it is, but for the narrower policy in `index.html`, and the one file by which
        the page learns where it is."""
        deployment.BucketDeployment(
            self,
            "Web",
            destination_bucket=self._files,
            sources=[
                deployment.Source.asset(str(WEB), exclude=["index.html"]),
                deployment.Source.data("index.html", self._narrowed()),
                deployment.Source.json_data("config.json", self._config()),
            ],
            cache_control=[deployment.CacheControl.no_cache()],
            retain_on_delete=self._context.keep_data,
            memory_limit=512,
        )

    def _narrowed(self) -> str:
        """What a header of the distribution cannot name, as the page's own policy: both hold."""
        buckets = (self._inbox, self._archive)
        narrow = policy(
            api=self._api.api_endpoint,
            files=" ".join(f"https://{one.bucket_regional_domain_name}" for one in buckets),
            login=self._people.login,
            identity=self._people.identity,
        )
        meta = f'<meta http-equiv="Content-Security-Policy" content="{narrow}">'
        first = '<meta charset="utf-8">'
        return (WEB / "index.html").read_text().replace(first, f"{first}\n{meta}", 1)

    def _config(self) -> dict[str, object]:
        """What `talkdrop page` answers as config.json, and `cognito`, by which web/home.js tells
        the homes apart."""
        return {
            "stack": self._context.stack_name,
            "region": Aws.REGION,
            "embedded": False,
            "samples": False,
            "rehearsal": False,
            "cognito": self._people.config,
        }
