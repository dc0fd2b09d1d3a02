"""One request to the tasks API: signed, and repeated where that changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_TRIES = 4
_BUSY = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """The API refused: `status` is HTTP's, `errors` name each field and its cure."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors

    @property
    def in_words(self) -> str:
        """The detail, and the errors that it does not name."""
        known = str(self).casefold()
        more = [one for one in self.errors if one["message"].casefold() not in known]
        return "\n".join([str(self), *(f"  {one['field']}: {one['message']}" for one in more)])


class Unreachable(Exception):
    """The API or a link could not be reached; the message says what to check."""


class Wire:
    """The way to one API. Requests are signed with SigV4, or carry `token`."""

    def __init__(
        self,
        api_url: str,
        http: httpx.Client,
        *,
        region: str | None,
        credentials: Credentials | None,
        token: str,
    ) -> None:
        session: Any = boto3.session.Session()
        self._api_url, self._http = api_url, http
        self._region = region or session.region_name or "us-east-1"
        self._credentials = credentials or (None if token else session.get_credentials())
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        content = b"" if body is None else json.dumps(dict(body)).encode()
        return self.send(method, path, query or {}, content, headers or {}).json()

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: bytes,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        """Repeated where that changes nothing: every POST of ours is idempotent by its key or its
        condition, but for a task without a key, which this client never opens."""
        for tried in range(1, _TRIES + 1):
            last = tried == _TRIES
            try:
                answer = self.exchange(method, path, query, content, headers)
            except Unreachable:
                if last:
                    raise
            else:
                if answer.status_code not in _BUSY or last:
                    return _checked(answer)
            time.sleep(0.3 * 2**tried)
        raise AssertionError("unreachable")

    def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: bytes,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        """One request, signed, and its answer whatever its status; never repeated. Raises
        Unreachable."""
        # A space as %20: SigV4 signs no other writing of it, and with a + the signature is wrong.
        encoded = urlencode(query, quote_via=quote, safe="")
        url = httpx.URL(f"{self._api_url}{path}{'?' if encoded else ''}{encoded}")
        signed = self._signed(method, str(url), content, headers)
        try:
            return self._http.request(method, url, content=content, headers=signed)
        except httpx.TransportError as error:
            message = f"{self._api_url} cannot be reached ({error}): is it up?"
            raise Unreachable(message) from error

    def _signed(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str]
    ) -> dict[str, str]:
        given = {"Content-Type": "application/json", **headers} if content else dict(headers)
        if self._token:
            return {**given, "Authorization": f"Bearer {self._token}"}
        if self._credentials is None:
            raise Unreachable("there are no AWS credentials: run aws configure, or set AWS_PROFILE")
        request = AWSRequest(method, url, headers=given, data=content)
        SigV4Auth(self._credentials, "execute-api", self._region).add_auth(request)
        return dict(request.headers)


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or problem.get("message") or answer.reason_phrase
    if answer.status_code == 401:
        detail = f"{detail}: the API takes a token; set TALKDROP_TOKEN to one that is not expired"
    if answer.status_code == 403:
        detail = f"{detail}: you need execute-api:Invoke on this API, and the right AWS account"
    raise ApiError(answer.status_code, str(detail), list(problem.get("errors", [])))
