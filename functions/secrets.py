"""What the secrets hold, and a provider's client made with them."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING

from functions import providers
from functions.providers import base
from functions.settings import aws, get

if TYPE_CHECKING:
    import httpx

_KEEP_SECONDS = 300
_known: dict[str, tuple[float, base.JsonObject]] = {}


def secret(secret_id: str, *, fresh: bool = False) -> base.JsonObject:
    """A secret's JSON object, kept for five minutes; `fresh` after a provider refused the key we
    knew."""
    known = _known.get(secret_id)
    if known and not fresh and known[0] > time.monotonic():
        return known[1]
    value = json.loads(aws("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"])
    if not isinstance(value, dict):
        raise TypeError(f"the secret {secret_id} must be a JSON object")
    _known[secret_id] = (time.monotonic() + _KEEP_SECONDS, value)
    return value


def callback_keys() -> base.JsonObject:
    """The callback keys (`current` names one of `k1`, `k2`, …) and, where a provider signs, its
    webhook keys by name."""
    return secret(get().callback_secret)


def of_provider(provider: str, *, fresh: bool = False) -> base.JsonObject:
    """What its secret holds; raises AccountRejected where that is not what a secret looks like."""
    try:
        return secret(_secret_of(provider), fresh=fresh)
    except (ValueError, TypeError):  # Its message would contain the secret.
        raise base.AccountRejected(
            f'the secret of {provider} is no JSON object such as {{"api_key": "…"}}'
        ) from None


def _secret_of(provider: str) -> str:
    return str(json.loads(get().provider_secrets)[provider])


def client(provider: str) -> base.Provider:
    """The provider's client, with its key and an HTTP client kept open between invocations."""
    return providers.get(provider)(of_provider(provider), wire())


def account_of(provider: str) -> str:
    """A fingerprint of the account that the provider's key opens; nothing of the key can be read
    from it."""
    return client(provider).account_id


def has_changed(provider: str) -> bool:
    """Does the secret hold another key than the one we used? Asked after a refusal, so that a
    rotation is no outage."""
    before = _known.get(_secret_of(provider))
    try:
        return before is not None and of_provider(provider, fresh=True) != before[1]
    except base.AccountRejected:
        return False


@cache
def wire() -> httpx.Client:
    """The one client of this sandbox, with one TLS context: to make one reads every root
    certificate there is. It follows no redirect and repeats nothing."""
    return base.open_client()


def forget() -> None:
    """Forget the keys and close the connections: for tests that change the environment."""
    _known.clear()
    if wire.cache_info().currsize:
        wire().close()
    wire.cache_clear()
