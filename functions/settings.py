"""What the stack sets for a function, read once from its environment; and the AWS clients."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from botocore.session import Session
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_stepfunctions import SFNClient


class SNSClient(Protocol):
    """What is called of it; its stubs are none of our pins."""

    def publish(self, **_: str) -> object: ...


@dataclass(frozen=True)
class Options:
    """Everything tunable from CDK context (`options` in cdk.json). Times say their unit; money is
    USD.

    `default_provider`, `default_models` (a model for each provider): what a task gets that names
    none. `providers`: those that have a secret, filled in from the context's; none named means all.
    `waiting_hours`: how long a voice may wait for its portrait. `drop_delay_seconds`: how long
    an upload waits so that files dropped together are seen together.
    `max_usd_per_task`: a task whose quote is higher is refused, None for no cap; a task may set its
    own `max_usd`. `lift_limits`: models whose limits that are only reported do not hold, such as
    {"infinitalk/from-audio": true}.
    `require_consent`: a task without `consent` is refused. `keep_watermark`: where the provider
    gives the video with its visible mark and without, the one with it is archived.
    `submit_enabled`: false sends nothing to any provider, and tasks stay READY.
    `budget_usd_per_day` and `_per_month`: caps on quoted spend,
    None for no cap. `rate_limits`: a provider's rate
    limit instead of its own (`submits` in any `seconds`, `running` at once, unlimited without it).
    `lease_seconds`: how long a submit has its task for itself. `media_delivery`: how media reach a
    provider instead of its own first way, such as {"kling": "base64"}. `link_hours`: how long a
    presigned media URL lives; it must outlast the provider's own queue. `callbacks`: false gives
    the provider no address to call, so that all is learned by polling. `polls`: overrides of a
    model's own schedule in seconds: the `first` query, then `steady` ones, and `slow` ones once the
    job is `slow_after` old. `sweep_minutes`: how often the sweep runs.
    `ambiguous_hold_hours`: hours to wait for a callback after an unanswered submit before the task
    is HELD. `resend_same_id`: after an unanswered submit, send the same id again (Kling) once all
    its lists and lookups know no such job; off, since that Kling refuses an id twice is documented
    and was never seen live. `silent_hold_hours`: how long a provider may say "running", or a video
    may not be archived, before the task is HELD.
    `long_voice`: "split" cuts a voice that no model takes in one piece and joins the videos,
    "refuse" refuses it; a task may say it for itself (docs/long-voice.md). `reuse`: a piece whose
    video was made before, for another voice, is not made again; a task may say it for itself.
    `keep_pieces_days`: how long the videos of pieces are kept for that once they are joined.
    `row_retention_days`: how long the row of a task that ended is kept, and with it the memory of
    what was paid.
    """

    default_provider: str = "kie"
    providers: tuple[str, ...] = ()
    default_models: Mapping[str, str] = field(default_factory=dict)
    waiting_hours: float = 24
    drop_delay_seconds: int = 2
    callbacks: bool = True
    submit_enabled: bool = True
    link_hours: float = 6
    lease_seconds: int = 180
    max_usd_per_task: Decimal | None = Decimal(20)
    require_consent: bool = False
    keep_watermark: bool = False
    lift_limits: Mapping[str, bool] = field(default_factory=dict)
    budget_usd_per_day: Decimal | None = None
    budget_usd_per_month: Decimal | None = None
    rate_limits: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    polls: Mapping[str, float] = field(default_factory=dict)
    media_delivery: Mapping[str, str] = field(default_factory=dict)
    resend_same_id: bool = False
    ambiguous_hold_hours: float = 6
    silent_hold_hours: float = 24
    long_voice: str = "split"
    reuse: bool = True
    keep_pieces_days: int = 30
    sweep_minutes: int = 5
    row_retention_days: int = 400

    @classmethod
    def parse(cls, text: str) -> Options:
        """The options from JSON. A name that is none of ours is refused, and so is a value of
        another type: a typo must not silently mean the default, nor "false" true."""
        raw: dict[str, Any] = json.loads(text or "{}", parse_float=Decimal)
        if not isinstance(raw, dict):
            raise ValueError(f"the options are {raw!r}: they must be a JSON object")
        known = {f.name: f.type for f in fields(cls)}
        if strange := sorted(set(raw) - set(known)):
            raise ValueError(
                f"unknown option {', '.join(strange)}: the options are {', '.join(known)}"
            )
        values = {
            name: _typed(f"option {name}", str(known[name]), value) for name, value in raw.items()
        }
        if "polls" in values:
            values["polls"] = {
                name: _typed(f"option polls.{name}", "float", one)
                for name, one in values["polls"].items()
            }
        return cls(**values)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _typed(where: str, kind: str, value: Any) -> Any:
    """The value as an option of this annotation has it. Money may be text, which keeps every
    digit."""
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    money = number or (
        isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None
    )
    fits, wants = {
        "bool": (isinstance(value, bool), "true or false"),
        "int": (number and isinstance(value, int), "a whole number"),
        "float": (number, "a number"),
        "str": (isinstance(value, str), "text"),
        "tuple[str, ...]": (_is_texts(value), "a list of texts"),
        "Decimal | None": (money or value is None, "a number, or null"),
    }.get(kind, (isinstance(value, dict), "an object"))
    if not fits:
        raise ValueError(f"{where} is {json.dumps(value, default=str)}: it must be {wants}")
    if kind == "float":
        return float(value)
    if kind == "tuple[str, ...]":
        return tuple(value)
    return Decimal(value) if kind == "Decimal | None" and value is not None else value


@dataclass(frozen=True)
class Settings:
    """One field for each environment variable `TALKDROP_<FIELD>` the stack sets; empty where a
    function needs none."""

    table: str = ""
    inbox: str = ""
    archive: str = ""
    bus: str = ""
    uploads_queue_url: str = ""
    submissions_queue_url: str = ""
    dead_letter_urls: str = "{}"
    notice_topic: str = ""
    stack: str = ""
    workflow_arn: str = ""
    pieces_workflow_arn: str = ""
    callback_base_url: str = ""
    callback_secret: str = ""
    provider_secrets: str = "{}"
    options: str = "{}"


@cache
def get() -> Settings:
    """The settings of this function; a test that changes the environment calls
    `get.cache_clear()`."""
    values = {f.name: os.environ.get(f"TALKDROP_{f.name.upper()}") for f in fields(Settings)}
    return Settings(**{name: value for name, value in values.items() if value is not None})


@cache
def options() -> Options:
    return Options.parse(get().options)


@overload
def aws(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def aws(service: Literal["s3"]) -> S3Client: ...
@overload
def aws(service: Literal["sqs"]) -> SQSClient: ...
@overload
def aws(service: Literal["events"]) -> EventBridgeClient: ...
@overload
def aws(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
@overload
def aws(service: Literal["sns"]) -> SNSClient: ...
@overload
def aws(service: Literal["stepfunctions"]) -> SFNClient: ...
def aws(service: Any) -> Any:
    """The client of a service, made once a sandbox. All we call through it is conditional or
    idempotent, so AWS's own retries are welcome; the paid POST goes another way."""
    return _client(service)


AMAZON_ROOTS = Path(__file__).parents[1] / "amazon-roots.pem"  # put there by infra/bundle.py
_REGIONAL: Any = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}


@cache
def _session() -> Session:
    # botocore and not boto3: the same client, without the resources that nothing here uses. One
    # session for all clients: each reads the table of endpoints anew, and where it may find models.
    from botocore.session import get_session

    return get_session()


@cache
def _client(service: Any) -> Any:
    from botocore.config import Config

    # SigV4, the regional host and the bucket in its name are set explicitly: without them botocore
    # presigns for the global host, and S3 answers with a redirect while a bucket is new and, in
    # younger regions, with 400.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    config = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=3,
        read_timeout=20,
        signature_version="s3v4" if service == "s3" else None,
        s3=_REGIONAL if service == "s3" else None,
    )
    return _session().create_client(service, config=config, verify=ca_bundle())


def ca_bundle() -> str | None:
    """The root certificates for AWS's own endpoints, None for botocore's full store.

    The bundle holds Amazon's five, which sign every endpoint of the public regions and of GovCloud;
    to read them takes a twentieth of the time. China and the isolated partitions are left out.
    https://aws.amazon.com/blogs/security/how-to-prepare-for-aws-move-to-its-own-certificate-authority/
    """
    region = os.environ.get("AWS_REGION", "")
    given = os.environ.get("AWS_CA_BUNDLE")
    is_public = re.match(r"(us|ca|mx|sa|eu|me|il|af|ap)-(?!iso)", region) is not None
    return given or (str(AMAZON_ROOTS) if is_public and AMAZON_ROOTS.exists() else None)


def forget() -> None:
    """Forget what was read and made: for tests that change the environment."""
    get.cache_clear()
    options.cache_clear()
    _client.cache_clear()
    _session.cache_clear()
