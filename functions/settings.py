"""What the stack tells a function, read once from its environment; and the AWS clients it talks through."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_stepfunctions import SFNClient


@dataclass(frozen=True)
class Options:
    """Everything tunable from CDK context (`options` in cdk.json). Times say their unit; money is USD.

    `waiting_hours`: how long a voice may wait for its portrait. `drop_delay_seconds`: how long an upload waits so that
    files dropped together are seen together. `link_hours`: how long a presigned media URL lives; it must outlast the
    provider's own queue. `polls`: overrides of a model's own schedule (`first`, `steady`, `slow`, in seconds).
    `paces`: overrides of a provider's own pace (`creates` in any `seconds`, `running` at once). `budget_usd_per_day`
    and `_per_month`: caps on quoted spend, None for no cap. `ambiguous_hold_hours`: how long the bell of a submit whose
    answer was lost is waited for before a person is asked. `silent_hold_hours`: how long a provider may say "running".
    """

    default_provider: str = "kie"
    default_models: Mapping[str, str] = field(default_factory=dict)
    waiting_hours: float = 24
    drop_delay_seconds: int = 2
    callbacks: bool = True
    submit_enabled: bool = True
    link_hours: float = 6
    lease_seconds: int = 180
    budget_usd_per_day: Decimal | None = None
    budget_usd_per_month: Decimal | None = None
    paces: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    polls: Mapping[str, float] = field(default_factory=dict)
    travel: Mapping[str, str] = field(default_factory=dict)
    ambiguous_hold_hours: float = 6
    silent_hold_hours: float = 24
    sweep_minutes: int = 5
    tombstone_days: int = 400

    @classmethod
    def parse(cls, text: str) -> Options:
        """The options from JSON. A name that is none of ours is refused: a typo must not silently mean the default."""
        raw: dict[str, Any] = json.loads(text or "{}", parse_float=str)
        known = {f.name: f.type for f in fields(cls)}
        if strange := sorted(set(raw) - set(known)):
            raise ValueError(f"unknown option {', '.join(strange)}: the options are {', '.join(known)}")
        for name, value in raw.items():
            kind = known[name]
            if "Decimal" in kind and value is not None:
                raw[name] = Decimal(str(value))
            elif kind == "float":
                raw[name] = float(value)
        if raw.get("polls"):
            raw["polls"] = {name: float(seconds) for name, seconds in raw["polls"].items()}
        return cls(**raw)


@dataclass(frozen=True)
class Settings:
    """One field for each environment variable `TALKDROP_<FIELD>` the stack sets; empty where a function needs none."""

    stage: str = ""
    table: str = ""
    inbox: str = ""
    archive: str = ""
    bus: str = ""
    uploads_queue_url: str = ""
    submissions_queue_url: str = ""
    workflow_arn: str = ""
    callback_base_url: str = ""
    callback_secret: str = ""
    provider_secrets: str = "{}"
    options: str = "{}"


@cache
def get() -> Settings:
    """The settings of this function; a test that changes the environment calls `get.cache_clear()`."""
    told = {f.name: os.environ.get(f"TALKDROP_{f.name.upper()}") for f in fields(Settings)}
    return Settings(**{name: value for name, value in told.items() if value is not None})


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
def aws(service: Literal["stepfunctions"]) -> SFNClient: ...
def aws(service: Any) -> Any:
    """The client of a service, made once a sandbox. All we call through it is conditional or idempotent, so AWS's own
    retries are welcome; the paid POST goes another way."""
    return _client(service)


@cache
def _client(service: Any) -> Any:
    import boto3
    from botocore.config import Config

    # SigV4 and the regional host are said out loud: without them botocore may presign in the old style, or for a
    # global host that answers with a redirect.
    config = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=3,
        read_timeout=20,
        signature_version="s3v4" if service == "s3" else None,
        s3={"us_east_1_regional_endpoint": "regional"} if service == "s3" else None,
    )
    return boto3.client(service, config=config)


def forget() -> None:
    """Forget what was read and made: for tests that change the environment."""
    get.cache_clear()
    options.cache_clear()
    _client.cache_clear()
