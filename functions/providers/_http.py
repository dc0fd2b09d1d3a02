"""One call to a provider over HTTP. Nothing here retries, follows a redirect or trusts a proxy."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from functions.providers._errors import Ambiguous, NotSent, ProviderError, Rejected, Unavailable
from functions.providers._redact import redact, secrets_in
from functions.providers._values import JsonObject, json_object

if TYPE_CHECKING:
    import httpx  # imported by whoever calls: some functions only read what a provider sends

MAX_ANSWER_BYTES = 1 << 20
ASK_SECONDS = 10.0  # a query that takes longer than the next poll is away is of no use
# httpx bounds each read, not their sum: a slow body must not outlive the Lambda.
ANSWER_SECONDS = 90.0


def open_client(timeout_seconds: float = 60.0) -> httpx.Client:
    """The HTTP client for a provider: no retry in any layer, no redirect followed, no proxy from
    the environment."""
    import httpx

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
    else. `secrets` are the values that its request carried and that no text may repeat."""

    status: int
    body: JsonObject
    text: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def redact(self, text: str) -> str:
        """What the provider wrote, without what we sent: the key, the signatures just made, the
        MAC of this attempt's callback."""
        return redact(text, self.secrets | secrets_in(json_object(self.body.get("data"))))

    def excerpt(self) -> str:
        """What a person should see of an answer that is not in the provider's form."""
        if "<html" in self.text[:2000].lower() or "<!doctype" in self.text[:200].lower():
            title = re.search(r"(?is)<title>(.*?)</title>", self.text[:20_000])
            return f"an HTML page: {title[1].strip()}" if title else "an HTML page"
        return " ".join(self.text[:300].split()) or "nothing"


@dataclass(frozen=True)
class _Call:
    """One request, and what it means when it could not be sent, and when its answer broke off."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    unsent: type[ProviderError]
    broken: type[ProviderError]
    content: Mapping[str, Any] = field(repr=False)  # httpx's own: json=, files=, data=, params=

    @property
    def host(self) -> str:
        import httpx

        try:
            return httpx.URL(self.url).host
        except httpx.InvalidURL:
            return "the provider"

    @property
    def secrets(self) -> frozenset[str]:
        key = header(self.headers, "authorization").removeprefix("Bearer ")
        sent = secrets_in(self.content.get("json"))
        return frozenset(sent | ({key} if len(key) >= 4 else set()))


def paid_post(
    client: httpx.Client, url: str, *, headers: Mapping[str, str], json_body: JsonObject
) -> Answer:
    """The paid POST. What certainly never left is NotSent; whatever else breaks is Ambiguous."""
    return _send(client, _Call("POST", url, headers, NotSent, Ambiguous, {"json": json_body}))


def ask(
    client: httpx.Client,
    url: str,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, str | int] | None = None,
) -> Answer:
    """A free GET; whatever breaks is Unavailable."""
    content = {"params": params, "timeout": ASK_SECONDS}
    return _send(client, _Call("GET", url, headers, Unavailable, Unavailable, content))


def call(
    client: httpx.Client,
    url: str,
    *,
    headers: Mapping[str, str],
    broken: type[ProviderError] = NotSent,
    **content: Any,  # httpx's own: json=, or files= and data=
) -> Answer:
    """A free POST (an upload; `json=`, or `files=` and `data=`): whatever breaks, nothing was
    bought."""
    return _send(client, _Call("POST", url, headers, broken, broken, content))


def _send(client: httpx.Client, call: _Call) -> Answer:
    import httpx

    request = _request(client, call)
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
        name = type(error).__name__
        raise call.unsent(f"could not reach {call.host}: {error}", code=name) from error
    except httpx.HTTPError as error:
        name = type(error).__name__
        raise call.broken(f"{call.host} broke off: {error or name}", code=name) from error
    text = raw.decode("utf-8", "replace")
    return Answer(response.status_code, json_object(text), text, response.headers, call.secrets)


def _request(client: httpx.Client, call: _Call) -> httpx.Request:
    import httpx

    try:
        return client.build_request(
            call.method, call.url, headers=dict(call.headers), **call.content
        )
    except httpx.InvalidURL as error:
        raise call.unsent(
            f"the address of the provider is not a URL: {error}", code="InvalidURL"
        ) from error
    except (TypeError, ValueError) as error:
        raise Rejected(
            f"the request cannot be written as JSON: {error}", code="NOT_JSON"
        ) from error


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


def header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def retry_after(headers: Mapping[str, str], default: int) -> int:
    """Seconds of a Retry-After in its numeric form, within an hour."""
    value = header(headers, "retry-after").strip()
    return min(int(value), 3600) if re.fullmatch(r"[0-9]{1,6}", value) else default
