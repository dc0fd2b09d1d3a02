"""One call to a provider: how it is sent, and how it fails. Nothing here retries, follows a
redirect or trusts a proxy.

The *call* failing is an exception, named after what the caller must do; the *job* failing is a
`Job` with an error.

    ProviderError
    ├── NotSent            nothing left the machine: the same attempt may be sent again
    ├── RejectedLater      refused for now and not queued: the same attempt may be sent again after
    `retry_seconds`
    ├── Rejected           this input will never pass: fail the task and show the reason
    ├── AccountRejected    key, credits or rights: stop this provider and ring the alarm; the task
    is not to blame
    ├── Ambiguous          sent, and we do not know: never send again without proof
    ├── JobNotFound        a query found no such job (yet)
    └── Unavailable        a query could not be answered now: ask again later
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

MAX_ANSWER_BYTES = 1 << 20
ASK_SECONDS = 10.0  # a query that hangs longer than the next poll is away would never be heard
ANSWER_SECONDS = (
    90.0  # httpx bounds each read, not their sum: a dripping body must not outlive the Lambda
)
_SECRETS = re.compile(
    r"(?i)(bearer\s+|X-Amz-(?:Signature|Security-Token|Credential)=|[?&](?:sig|signature|token|key)=)[^\s\"'&]+"
)
_LONG_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_CALLBACK = re.compile(r"(/callbacks/[^/\s\"']+/[^/\s\"']+/[^/\s\"']+/)[^\s\"']+")


class ProviderError(Exception):
    """A call to a provider failed. `code` is the provider's own word for it, or ours in capitals.

    `bought` is what this attempt has paid for already, as settings: whoever sends the attempt again
    adds them to the request, so that it is not paid for twice (kling's speech, which comes before
    its video).
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(redact(message))
        self.code = code
        self.bought: dict[str, str] = {}


class NotSent(ProviderError):
    """Nothing left the machine: DNS, connect, TLS."""


class RejectedLater(ProviderError):
    """Refused for now, and not queued: rate, concurrency, maintenance."""

    def __init__(self, message: str, *, code: str = "", retry_seconds: int = 10) -> None:
        super().__init__(message, code=code)
        self.retry_seconds = retry_seconds


class Rejected(ProviderError):
    """This input will never pass: bad parameters, moderation."""


class AccountRejected(ProviderError):
    """Wrong key, no credits, no rights: nothing of this account will pass until a person acts."""


class Ambiguous(ProviderError):
    """Sent, and we do not know whether a job exists."""


class JobNotFound(ProviderError):
    """The provider does not know this job, or not yet."""


class Unavailable(ProviderError):
    """A query could not be answered now."""


def open_client(timeout_seconds: float = 60.0) -> httpx.Client:
    """The wire to a provider: no retry in any layer, no redirect followed, no proxy from the
    environment."""
    return httpx.Client(
        transport=httpx.HTTPTransport(retries=0),
        timeout=httpx.Timeout(timeout_seconds, connect=10.0),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "talkdrop/1"},
    )


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read up to a cap. `body` is the decoded JSON object; empty if it was anything
    else."""

    status: int
    body: Mapping[str, Any]
    text: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def excerpt(self) -> str:
        """What a person should see of an answer that is not in the provider's form."""
        if "<html" in self.text[:2000].lower() or "<!doctype" in self.text[:200].lower():
            title = re.search(r"(?is)<title>(.*?)</title>", self.text[:20_000])
            return f"an HTML page: {title[1].strip()}" if title else "an HTML page"
        return " ".join(self.text[:300].split()) or "nothing"


def paid_post(
    client: httpx.Client, url: str, *, headers: Mapping[str, str], json_body: Any
) -> Answer:
    """The paid POST. What certainly never left is NotSent; whatever else breaks is Ambiguous."""
    return _send(
        client, "POST", url, headers, {"json": json_body}, unsent=NotSent, broken=Ambiguous
    )


def ask(
    client: httpx.Client,
    url: str,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, str | int] | None = None,
) -> Answer:
    """A free GET; whatever breaks is Unavailable."""
    content = {"params": params, "timeout": ASK_SECONDS}
    return _send(client, "GET", url, headers, content, unsent=Unavailable, broken=Unavailable)


def call(
    client: httpx.Client,
    url: str,
    *,
    headers: Mapping[str, str],
    broken: type[ProviderError] = NotSent,
    **content: Any,
) -> Answer:
    """A free POST (an upload; `json=`, or `files=` and `data=`): whatever breaks, nothing was
    bought."""
    return _send(client, "POST", url, headers, content, unsent=broken, broken=broken)


def _send(
    client: httpx.Client,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: Mapping[str, Any],
    *,
    unsent: type[ProviderError],
    broken: type[ProviderError],
) -> Answer:
    try:
        request = client.build_request(method, url, headers=dict(headers), **content)
    except httpx.InvalidURL as error:
        raise unsent(
            f"the address of the provider is not a URL: {error}", code="InvalidURL"
        ) from error
    except (TypeError, ValueError) as error:
        raise Rejected(
            f"the request cannot be written as JSON: {error}", code="NOT_JSON"
        ) from error
    try:
        response = client.send(request, stream=True)
        try:
            raw = _read_capped(response)
        finally:
            response.close()
    except (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
    ) as error:
        raise unsent(f"could not reach {_host(url)}: {error}", code=type(error).__name__) from error
    except httpx.HTTPError as error:
        raise broken(
            f"{_host(url)} broke off: {error or type(error).__name__}", code=type(error).__name__
        ) from error
    text = raw.decode("utf-8", "replace")
    return Answer(response.status_code, json_object(text), text, response.headers)


def _read_capped(response: httpx.Response) -> bytes:
    """The body up to the cap and the deadline; what is cut off is no longer JSON: it counts as a
    broken answer."""
    raw = b""
    deadline = time.monotonic() + ANSWER_SECONDS
    for chunk in response.iter_bytes():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            return raw[:MAX_ANSWER_BYTES]
    return raw


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return "the provider"


def json_object(value: Any) -> dict[str, Any]:
    """An object, or the object that a JSON text holds, twice wrapped at most; {} for anything
    else."""
    for _ in range(2):
        if isinstance(value, (str, bytes)):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return {}
    return value if isinstance(value, dict) else {}


def header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def retry_after(headers: Mapping[str, str], default: int) -> int:
    """Seconds of a Retry-After in its numeric form, within an hour."""
    value = header(headers, "retry-after").strip()
    return min(int(value), 3600) if re.fullmatch(r"[0-9]{1,6}", value) else default


def redact(text: str) -> str:
    """The text without keys, signed query strings and callback MACs, short enough for a table and a
    person."""
    text = _CALLBACK.sub(
        r"\1…", _LONG_QUERY.sub(r"\1?…", _JWT.sub("…", _SECRETS.sub(r"\1…", text)))
    )
    return text if len(text) <= 600 else text[:597] + "…"
