"""Who may use the page's second home: a Cognito user pool with three groups, and the role by which
the browser of each signs for the tasks API.

What a person may do is decided by IAM alone: the page only leaves out what would be refused.
"""

from __future__ import annotations

from aws_cdk import Aws, Duration, Fn
from aws_cdk import aws_apigatewayv2 as apigw
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from constructs import Construct

from functions.api.routes import ROUTES
from infra import storage
from infra.context import Context

READ = tuple(route for route in ROUTES if route.startswith("GET "))
MAKE = ("POST /tasks", "POST /uploads", "POST /quote")
# By group, the least first: what it may call. web/session.js shows no more than this.
GROUPS = {"viewer": READ, "maker": (*READ, *MAKE), "approver": ROUTES}


class People(Construct):
    """`page_url` is where Cognito sends a browser back to, with a slash at its end."""

    def __init__(
        self, scope: Construct, name: str, *, context: Context, api: apigw.HttpApi, page_url: str
    ) -> None:
        super().__init__(scope, name)
        self._context, self._api, self._page_url = context, api, page_url
        self.pool = self._user_pool()
        self._client = self._sign_in()
        self._identities = self._identity_pool()
        self._attach_roles()

    def _user_pool(self) -> cognito.UserPool:
        """Only who runs Talkdrop adds a person. A password opens nothing without the code of an
        authenticator app, since a session may spend money."""
        return cognito.UserPool(
            self,
            "Pool",
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
        self._domain = self.pool.add_domain(
            "SignIn", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix)
        )
        return self.pool.add_client(
            "Browser",
            generate_secret=False,
            auth_flows=cognito.AuthFlow(user_srp=True),
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=[self._page_url],
                logout_urls=[self._page_url],
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
            provider_name=self.pool.user_pool_provider_name,
            server_side_token_check=True,
        )
        return cognito.CfnIdentityPool(
            self,
            "Identities",
            allow_unauthenticated_identities=False,
            allow_classic_flow=False,
            cognito_identity_providers=[provider],
        )

    def _attach_roles(self) -> None:
        """The role comes with the token, from the person's group; who is in none is refused, and
        the role that Cognito wants beside may do nothing."""
        for rank, (group, routes) in enumerate(reversed(GROUPS.items())):
            cognito.CfnUserPoolGroup(
                self,
                group.capitalize(),
                user_pool_id=self.pool.user_pool_id,
                group_name=group,
                precedence=rank,
                role_arn=self._role(group, routes).role_arn,
            )
        mapping = cognito.CfnIdentityPoolRoleAttachment.RoleMappingProperty(
            type="Token",
            ambiguous_role_resolution="Deny",
            identity_provider=f"{self.pool.user_pool_provider_name}:"
            f"{self._client.user_pool_client_id}",
        )
        cognito.CfnIdentityPoolRoleAttachment(
            self,
            "RoleOfTheGroup",
            identity_pool_id=self._identities.ref,
            roles={"authenticated": self._role("none", ()).role_arn},
            role_mappings={"groups": mapping},
        )

    def _role(self, group: str, routes: tuple[str, ...]) -> iam.Role:
        """https://docs.aws.amazon.com/cognito/latest/developerguide/role-trust-and-permissions.html"""
        of_the_pool = {"cognito-identity.amazonaws.com:aud": self._identities.ref}
        signed_in = {"cognito-identity.amazonaws.com:amr": "authenticated"}
        role = iam.Role(
            self,
            f"{group.capitalize()}Role",
            description=f"{self._context.stack_name}: a browser whose group is {group}",
            max_session_duration=Duration.hours(1),
            assumed_by=iam.WebIdentityPrincipal(
                "cognito-identity.amazonaws.com",
                {"StringEquals": of_the_pool, "ForAnyValue:StringLike": signed_in},
            ),
        )
        if routes:
            arns = [self._arn(route) for route in routes]
            role.add_to_policy(iam.PolicyStatement(actions=["execute-api:Invoke"], resources=arns))
        return role

    def _arn(self, route: str) -> str:
        method, path = route.split()
        return self._api.arn_for_execute_api(method, path.replace("{task_id}", "*"), "$default")

    @property
    def login(self) -> str:
        return f"https://{self._domain.domain_name}.auth.{Aws.REGION}.amazoncognito.com"

    @property
    def identity(self) -> str:
        return f"https://cognito-identity.{Aws.REGION}.{Aws.URL_SUFFIX}"

    @property
    def config(self) -> dict[str, str]:
        """What web/session.js must know. Nothing of it is secret."""
        return {
            "api": self._api.api_endpoint,
            "login": self.login,
            "client": self._client.user_pool_client_id,
            "identity": self.identity,
            "identity_pool": self._identities.ref,
            "user_pool": self.pool.user_pool_provider_name,
        }

    @property
    def how_to_add_one(self) -> str:
        """Two commands for the AWS CLI."""
        person = f"--user-pool-id {self.pool.user_pool_id} --username EMAIL"
        email = "Name=email,Value=EMAIL Name=email_verified,Value=true"
        return (
            f"aws cognito-idp admin-create-user {person} --user-attributes {email} && "
            f"aws cognito-idp admin-add-user-to-group {person} --group-name approver"
        )
