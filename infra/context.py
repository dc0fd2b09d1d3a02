"""What may be chosen: the CDK context (`cdk.json`, or `-c name=value`), typed and checked before
anything is built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from functions import providers
from functions.inputs.request import REFUSE, SPLIT
from functions.settings import Options

if TYPE_CHECKING:
    from constructs import Node  # to import it starts Node, which only the synthesis needs

LogDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653]
Never = Literal["never"]
# What `cdk acknowledge` and `cdk cli-telemetry` keep in cdk.context.json; all other keys of the CDK
# have an @ or a colon.
KEYS_OF_THE_CLI = ("acknowledged-issue-numbers", "cli-telemetry")
_ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
BACKUP_DAYS = 35  # of point-in-time recovery
POLLS = ("first", "steady", "slow", "slow_after")


class ContextError(ValueError):
    """What was chosen cannot be; the message names it and the cure, in one line."""


class Context(BaseModel):
    """Each field is a context key; what is not given has the default here.

    `stage`: several Talkdrops may live in one account; every stage but `prod` is named in the
    stack's name. `account`, `region`: where to; not given, wherever the CLI is logged in.
    `keep_data`: buckets and table outlive the stack. Only a stage that is not `prod` may say false.
    `inbox_expire_days`: portraits and voices are somebody's face: they are hidden when the videos
    are long made, and gone for good `old_versions_days` later. It must leave a waiting or held task
    its files. `archive_cold_after_days`: to Glacier Instant Retrieval, which still answers in
    milliseconds. `archive_expire_days`: when videos go. Each of these two may be the word `never`.
    `archive_ia_after_days`: to Standard-IA, on the way there. `archive_lock_days`: for so long
    no version of a video is deleted without the right to bypass the lock.
    `archive_replica_bucket_arn`: a bucket of yours, versioned, in another region, that gets a copy
    of every video. See docs/operations.md. `providers`: those
    that are used, each with a secret of its own; none named means the option default_provider
    alone. `lambda_quota`: how many concurrent executions the account has, which `make deploy` asks
    AWS for; a new account may have 10. `kms_key_arn`: a key of yours for buckets, table and
    secrets, instead of AWS's own. `log_days`: in prod at least as long as backups go back, since
    a restore leans on the logs. `old_versions_days`: how long an overwritten or deleted
    object can be brought back. `callback_base_url`: a domain of your own in front of the API,
    without a slash at the end. `alarm_email`: who gets the alarms by mail; others may
    subscribe to the topic. `notify_email`: who gets a mail for every task that is done, failed or
    held, or where `notify` is "daily" one summary a day. `jwt_issuer` and `jwt_audience`: the API
    takes tokens of this OpenID Connect issuer, made for one of these audiences, instead of IAM's
    signatures (docs/security.md). `options`: what the
    functions themselves may be given, see `functions/settings.py`.
    `page`: the page at an address of its own, for people who sign in (docs/page.md).
    `bundle`: `aws` ships wheels for Lambda; `host` (or TALKDROP_BUNDLE=host) those of this machine,
    for the embedded run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str = Field("prod", pattern=r"^[a-z][a-z0-9-]{0,15}$")
    account: str | None = Field(None, pattern=r"^[0-9]{12}$")
    region: str | None = Field(None, pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    keep_data: bool = True
    log_days: LogDays = 60
    inbox_expire_days: Annotated[int, Field(ge=7)] | Never = 30
    archive_cold_after_days: Annotated[int, Field(ge=1)] | Never = 90
    archive_expire_days: Annotated[int, Field(ge=1)] | Never = "never"
    archive_ia_after_days: Annotated[int, Field(ge=30)] | Never = "never"  # S3: nothing younger
    archive_lock_days: Annotated[int, Field(ge=1)] | Never = "never"
    archive_replica_bucket_arn: str | None = Field(
        None, pattern=r"^arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
    )
    old_versions_days: int = Field(30, ge=1)
    jwt_issuer: str | None = Field(None, pattern=r"^https://[^/?#\s]+(/[^?#\s]*)?$")
    jwt_audience: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    callback_base_url: str | None = Field(None, pattern=r"^https://[^/]+(/[^/]+)*$")
    alarm_email: str | None = Field(None, pattern=_ADDRESS)
    notify_email: str | None = Field(None, pattern=_ADDRESS)
    notify: Literal["each", "daily"] = "each"
    providers: tuple[str, ...] = ()
    lambda_quota: int | None = Field(None, ge=10)
    kms_key_arn: str | None = Field(None, pattern=r"^arn:aws[a-z-]*:kms:[^:]+:[0-9]{12}:key/\S+$")
    page: bool = False
    options: Mapping[str, Any] = {}
    bundle: Literal["aws", "host"] = "aws"

    @classmethod
    def of(cls, node: Node) -> Self:
        keys = [
            key
            for key in node.get_all_context()
            if not (set("@:") & set(key) or key in KEYS_OF_THE_CLI)
        ]
        if strange := sorted(set(keys) - set(cls.model_fields)):
            raise ContextError(
                f"unknown context key {', '.join(strange)}: the keys are "
                f"{', '.join(cls.model_fields)}"
            )
        given = {name: node.try_get_context(name) for name in keys}
        if target := os.environ.get("TALKDROP_BUNDLE"):
            given["bundle"] = target
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ContextError("; ".join(_in_one_line(one) for one in error.errors())) from None

    @field_validator("providers", mode="before")
    @classmethod
    def _providers(cls, value: object) -> object:
        """A list, or names with commas as `-c providers=kie,kling` gives them."""
        names = value.split(",") if isinstance(value, str) else value
        for name in names if isinstance(names, (list, tuple)) else ():
            if name not in providers.NAMES:
                known = ", ".join(providers.NAMES)
                raise ValueError(f"providers names {name!r}: the providers are {known}")
        return names

    @field_validator("jwt_audience", mode="before")
    @classmethod
    def _audiences(cls, value: object) -> object:
        """A list, or names with commas as `-c jwt_audience=a,b` gives them."""
        return value.split(",") if isinstance(value, str) else value

    @field_validator("options", mode="before")
    @classmethod
    def _options(cls, value: object) -> object:
        """A misspelt option fails here, at synthesis, and not in a function a week later."""
        given = (
            json.loads(value) if isinstance(value, str) else value
        )  # `-c options='{…}'` arrives as text
        options = Options.parse(json.dumps(given))
        _names_what_there_is(options)
        _keeps_time(options)
        _lies_in_range(options)
        return given

    @field_validator("log_days", mode="before")
    @classmethod
    def _log_days(cls, value: object) -> object:
        return int(value) if isinstance(value, (str, float)) else value

    @model_validator(mode="after")
    def _an_issuer_has_its_audience(self) -> Self:
        """Without one, a token that the issuer made for another application would open this API."""
        if bool(self.jwt_issuer) != bool(self.jwt_audience):
            raise ValueError(
                "jwt_issuer and jwt_audience go together: whose tokens the API takes, and made for "
                "whom"
            )
        return self

    @model_validator(mode="after")
    def _a_summary_has_its_address(self) -> Self:
        if self.notify == "daily" and not self.notify_email:
            raise ValueError("notify is daily, and notify_email names no address for the summary")
        return self

    @model_validator(mode="after")
    def _the_page_signs(self) -> Self:
        if self.page and self.jwt_issuer:
            raise ValueError(
                "page and jwt_issuer do not go together: the page signs with IAM, and with an "
                "issuer the API takes its tokens alone"
            )
        return self

    @model_validator(mode="after")
    def _data_of_prod_is_kept(self) -> Self:
        if self.stage == "prod" and not self.keep_data:
            raise ValueError(
                "keep_data=false is for other stages: the stage prod keeps its videos and its table"
            )
        return self

    @model_validator(mode="after")
    def _logs_last_as_long_as_backups(self) -> Self:
        if self.stage == "prod" and self.log_days < BACKUP_DAYS:
            raise ValueError(
                f"log_days must be {BACKUP_DAYS} or more in the stage prod: a table that is "
                "restored is completed from the logs"
            )
        return self

    @model_validator(mode="after")
    def _default_provider_is_in_use(self) -> Self:
        default = self.parsed_options.default_provider
        if default not in self.providers_in_use:
            raise ValueError(
                f"providers must hold {default!r}, the option default_provider: a task that names "
                "no provider goes to it"
            )
        return self

    @model_validator(mode="after")
    def _a_replica_has_amazons_key(self) -> Self:
        if self.kms_key_arn and self.archive_replica_bucket_arn:
            raise ValueError(
                "kms_key_arn and archive_replica_bucket_arn do not go together: S3 replicates "
                "under a key of the other region, which Talkdrop does not set up"
            )
        return self

    @model_validator(mode="after")
    def _no_voice_outlives_its_row(self) -> Self:
        days = self.parsed_options.row_retention_days
        if self.inbox_expire_days == "never" or self.inbox_expire_days >= days:
            raise ValueError(
                f"inbox_expire_days must be less than the option row_retention_days ({days}): the "
                "sweep takes a voice whose "
                "row is gone for a forgotten one, and it would be paid again"
            )
        return self

    @model_validator(mode="after")
    def _the_archive_grows_cold_by_degrees(self) -> Self:
        infrequent, cold = self.archive_ia_after_days, self.archive_cold_after_days
        if infrequent != "never" and cold != "never" and cold < infrequent + 30:
            raise ValueError(
                "archive_cold_after_days must be 30 or more past archive_ia_after_days: S3 keeps "
                "it there so long"
            )
        return self

    @property
    def stack_name(self) -> str:
        return "Talkdrop" if self.stage == "prod" else f"Talkdrop-{self.stage}"

    @property
    def parsed_options(self) -> Options:
        return Options.parse(json.dumps(dict(self.options)))

    @property
    def providers_in_use(self) -> tuple[str, ...]:
        return self.providers or (self.parsed_options.default_provider,)

    def concurrency_of(self, name: str) -> int:
        """At most so many invocations of this function by its queue: together a third of the
        account's, and never fewer than the two that SQS allows."""
        most, share = {"intake": (20, 5), "submit": (10, 10)}[name]
        return min(most, max(2, (self.lambda_quota or 1000) // share))

    def reserved_for(self, name: str) -> int | None:
        """Callbacks keep a share for themselves where the quota allows it: AWS keeps 100 unreserved
        (https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html)."""
        quota = self.lambda_quota or 0
        return min(50, quota // 10) if name == "callback" and quota >= 200 else None

    @property
    def options_json(self) -> str:
        return json.dumps({**self.options, "providers": self.providers_in_use}, sort_keys=True)


def _in_one_line(error: Any) -> str:
    """pydantic's finding with the key it is about, and the value, which is never a secret here."""
    message = str(error["msg"]).removeprefix("Value error, ")
    key = ".".join(str(part) for part in error["loc"])
    return f"{key} is {error['input']!r}: {message}" if error["type"] != "value_error" else message


def _names_what_there_is(options: Options) -> None:
    """Providers, models and media deliveries that exist; ValueError names those there are."""
    if options.long_voice not in (SPLIT, REFUSE):
        raise ValueError(f"the option long_voice is {options.long_voice!r}: split or refuse")
    for option in ("default_models", "rate_limits", "media_delivery", "default_provider"):
        named = getattr(options, option)
        for name in [named] if isinstance(named, str) else named:
            if name not in providers.NAMES:
                raise ValueError(
                    f"the option {option} names {name!r}: the providers are "
                    f"{', '.join(providers.NAMES)}"
                )
    for name, model in options.default_models.items():
        if model != "auto" and model not in (models := providers.get(name).models):
            raise ValueError(f"{name} has no model {model!r}: it has auto, {', '.join(models)}")
    for name, delivery in options.media_delivery.items():
        if delivery not in (deliveries := providers.get(name).media_deliveries):
            raise ValueError(
                f"media cannot be delivered to {name} by {delivery!r}: by {', '.join(deliveries)}"
            )


# Options with a least and a most value, both allowed.
RANGES = {
    "waiting_hours": (0.1, 720),
    "drop_delay_seconds": (0, 900),  # of SQS
    "sweep_minutes": (1, 60),
    "budget_usd_per_day": (0, 1_000_000),
    "budget_usd_per_month": (0, 10_000_000),
    "ambiguous_hold_hours": (0.1, 168),
    "silent_hold_hours": (1, 336),
    "keep_pieces_days": (1, 365),
    "row_retention_days": (8, 3650),
}


def _lies_in_range(options: Options) -> None:
    for name, (least, most) in RANGES.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise ValueError(
                f"the option {name} is {value}: it must lie between {least} and {most}"
            )


def _keeps_time(options: Options) -> None:
    if not 120 <= options.lease_seconds <= 900:
        raise ValueError(
            "the option lease_seconds must lie between 120 and 900: the POST alone may take 90"
        )
    if not 0 < options.link_hours <= 168:
        raise ValueError(
            "the option link_hours must be more than 0 and at most 168: AWS signs for seven days "
            "at most"
        )
    for name, seconds in options.polls.items():
        if name not in POLLS or seconds <= 0:
            raise ValueError(
                f"the option polls.{name} is {seconds:g}: it takes {', '.join(POLLS)}, in seconds "
                "above 0"
            )
    for name, rate_limit in options.rate_limits.items():
        numbers = [
            number for part, number in rate_limit.items() if (part, number) != ("running", None)
        ]
        whole = all(type(number) is int and number >= 1 for number in numbers)
        if not whole or not {"submits", "seconds"} <= set(rate_limit) <= {
            "submits",
            "seconds",
            "running",
        }:
            message = (
                f"the option rate_limits.{name} is {json.dumps(rate_limit, default=str)}: it "
                "needs submits and seconds"
            )
            raise ValueError(
                f"{message}, and may have running: whole numbers from 1, running also null"
            )
