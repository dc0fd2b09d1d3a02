"""Where the real code meets the simulated environment: botocore's one method, httpx's one
method, sockets and the clock.

Nothing of `functions` is replaced. What is replaced, once a process, is what lies under it.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import pkgutil
import random
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import botocore.client
import botocore.exceptions
import botocore.hooks
import httpx
from aws_lambda_powertools import Metrics
from botocore.awsrequest import AWSRequest
from botocore.validate import ParamValidator

from tests.faults.account import ARCHIVE, BUS, DOOR, INBOX, Account
from tests.faults.clockwork import Invocation
from tests.faults.dynamo import Refused
from tests.faults.sockets import (
    S3_HOST,
    SIGNED_QUERY,
    PutSocket,
    ResultSocket,
    environment,
    getaddrinfo,
)


def connect(account: Account, serve: Any, result: Any, seed: int, options: str) -> None:
    """Let this environment answer from now on."""
    _install()
    environment.account, environment.serve, environment.result = account, serve, result
    environment.random = random.Random(seed)
    account.clock.before_switch = _change_sandbox
    os.environ["TALKDROP_OPTIONS"] = options
    from functions import secrets, settings

    settings.get.cache_clear()
    settings.options.cache_clear()
    secrets._known.clear()
    Metrics._metrics.clear()


_replaced: list[tuple[Any, str, Any]] = []
_environment: dict[str, str] = {}
# A run keeps nearly all that it makes: looking for cycles finds next to nothing, and took a fifth
# of a run of hundreds of tasks: what was there before is never looked through, and its own seldom.
_SELDOM = (20_000, 20, 50)
_thresholds = gc.get_threshold()


def release() -> None:
    """Give everything back as it was: other tests of this process have worlds of their own."""
    if _replaced:
        gc.set_threshold(*_thresholds)
        gc.unfreeze()
    while _replaced:
        place, name, old = _replaced.pop()
        setattr(place, name, old)
    if _environment:
        os.environ.clear()
        os.environ.update(_environment)
        _environment.clear()
    importlib.import_module("functions.download.connection")._tls.cache_clear()


def _replace(place: Any, name: str, new: Any) -> None:
    _replaced.append((place, name, getattr(place, name)))
    setattr(place, name, new)


def _install() -> None:
    if _replaced:
        return
    _environment.update(os.environ)
    _set_environment()
    import functions

    names = [
        name
        for _, name, is_folder in pkgutil.walk_packages(functions.__path__, "functions.")
        if not is_folder
    ]
    modules = [importlib.import_module(name) for name in names]
    for module in modules:
        _put_clock_in(module)
    _take_logs(modules)
    _replace(botocore.client.BaseClient, "_make_api_call", _make_api_call)
    _replace(botocore.hooks.HierarchicalEmitter, "register", _register)
    _replace(httpx.HTTPTransport, "handle_request", _handle_request)
    # An SSL context takes longer than a whole task does here, and nothing here is encrypted.
    context = httpx.create_ssl_context()
    transports = importlib.import_module("httpx._transports.default")
    _replace(transports, "create_ssl_context", lambda *_args, **_named: context)
    wire = importlib.import_module("functions.download.connection")
    sockets = SimpleNamespace(
        getaddrinfo=getaddrinfo, socket=ResultSocket, SOCK_STREAM=socket.SOCK_STREAM
    )
    _replace(wire, "socket", sockets)
    # No TLS either: what is wrapped stays as it is.
    plain = SimpleNamespace(create_default_context=_PlainContext, SSLSocket=ssl.SSLSocket)
    _replace(wire, "ssl", plain)
    wire._tls.cache_clear()
    real = socket.create_connection

    def create_connection(address: Any, *rest: Any, **named: Any) -> Any:
        return PutSocket() if address[0] == S3_HOST else real(address, *rest, **named)

    _replace(socket, "create_connection", create_connection)
    gc.freeze()
    gc.set_threshold(*_SELDOM)


class _PlainContext:
    def set_alpn_protocols(self, _: list[str]) -> None: ...
    def wrap_socket(self, connection: Any, **_: Any) -> Any:
        return connection


def _set_environment() -> None:
    values = {
        "TABLE": "tasks", "INBOX": INBOX, "ARCHIVE": ARCHIVE, "BUS": BUS,
        "UPLOADS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/uploads",
        "SUBMISSIONS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/submissions",
        "WORKFLOW_ARN": "arn:aws:states:eu-west-1:000000000000:stateMachine:talkdrop",
        "PIECES_WORKFLOW_ARN": "arn:aws:states:eu-west-1:000000000000:stateMachine:talkdrop-pieces",
        "CALLBACK_BASE_URL": DOOR, "CALLBACK_SECRET": "callback-key",
        "PROVIDER_SECRETS": '{"kie":"kie","kling":"kling","comet":"comet","relay":"relay"}',
    }  # fmt: skip
    os.environ |= {f"TALKDROP_{name}": value for name, value in values.items()}
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "AKIDCANARY",
        "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-31d7",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": "talkdrop",
        "POWERTOOLS_METRICS_NAMESPACE": "Talkdrop",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }


# The clock, chance and identity.


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> _Datetime:
        return cls.fromtimestamp(environment.account.clock.wall, tz)


def _put_clock_in(module: Any) -> None:
    """Where a module of ours knows time, chance or fresh ids, it knows the environment's."""
    if getattr(module, "datetime", None) is datetime:
        _replace(module, "datetime", _Datetime)
    if getattr(module, "time", None) is time:
        clock = SimpleNamespace(
            time=lambda: environment.account.clock.wall,
            monotonic=lambda: environment.account.clock.now,
            sleep=lambda seconds: environment.account.clock.pause(seconds),
        )
        _replace(module, "time", clock)
    if getattr(module, "random", None) is random:
        chance = SimpleNamespace(
            uniform=lambda *ends: environment.random.uniform(*ends),
            random=lambda: environment.random.random(),
        )
        _replace(module, "random", chance)
    if getattr(module, "uuid", None) is uuid:
        made = SimpleNamespace(
            uuid4=lambda: uuid.UUID(int=environment.random.getrandbits(128), version=4)
        )
        _replace(module, "uuid", made)


# What a function prints, and what Powertools keeps between two calls: each sandbox has its own.


class _Stdout(io.TextIOBase):
    def write(self, text: str) -> int:
        one = environment.account.clock.current
        if one is not None and not one.is_dead and text.strip():
            environment.account.lines.append((one.name, text.strip()))
            if environment.account.clock.trace is not None:
                environment.account.clock.note(
                    f"    {one.name}#{one.number}  prints {text.strip()[:400]}"
                )
        return len(text)


_stdout = _Stdout()
_console = [sys.stdout]


def _take_logs(modules: list[Any]) -> None:
    for module in modules:
        logger = getattr(module, "logger", None)
        for handler in getattr(logger, "handlers", []) or getattr(
            getattr(logger, "_logger", None), "handlers", []
        ):
            _replace(handler, "stream", _stdout)


def _change_sandbox(old: Invocation | None, new: Invocation | None) -> None:
    kept: dict[str, Any] = Metrics._metrics
    if old is not None:
        old.kept = dict(kept) if kept else None
    kept.clear()
    if new is not None and new.kept:
        kept.update(new.kept)
    _change_secrets(old, new)
    if new is None:
        sys.stdout = _console[0]
    elif sys.stdout is not _stdout:
        _console[0], sys.stdout = sys.stdout, _stdout


def _change_secrets(old: Invocation | None, new: Invocation | None) -> None:
    """Each sandbox keeps the secrets that it read, for as long as it lives. It happens at every
    call to the outside: so the module is not imported anew, nor what is empty copied."""
    known = sys.modules["functions.secrets"]._known
    caches = environment.account.secret_caches
    if old is not None:
        caches[old.sandbox] = dict(known)
    known.clear()
    if new is not None and new.sandbox in caches:
        known.update(caches[new.sandbox])


# AWS.


def _make_api_call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    service = client.meta.service_model.service_name
    _validate(client, operation, parameters)
    if operation == "PutObject" and not isinstance(parameters.get("Body", b""), bytes):
        return _put_streamed(client, parameters)

    def effect() -> Any:
        one = environment.account.clock.current
        try:
            if one is not None and one.fault is not None and one.fault.what in _REFUSED:
                raise _refused(one.fault.what, operation, parameters)
            return environment.account.call(service, operation, dict(parameters))
        except Refused as refused:
            raise _client_error(client, operation, refused) from None

    def failing(after: bool) -> Exception:
        return _failure(client, operation, after)

    return environment.account.clock.wire(f"{service} {operation}", effect, failing)


_validator = ParamValidator()
_valid: set[tuple[str, frozenset[str]]] = set()


def _validate(client: Any, operation: str, parameters: dict[str, Any]) -> None:
    """What botocore itself refuses: a parameter that is missing, unknown or of another type. Once
    for each set of parameters: to do it each time is a tenth of a run."""
    known = (operation, frozenset(parameters))
    if known in _valid:
        return
    shape = client.meta.service_model.operation_model(operation).input_shape
    report = _validator.validate(parameters, shape)
    if report.has_errors():
        raise botocore.exceptions.ParamValidationError(report=report.generate_report())
    _valid.add(known)


_REFUSED = {
    "conflict": ("TransactionConflictException", "TransactionConflict"),
    "throttled": ("ThrottlingException", "ThrottlingError"),
}


def _refused(what: str, operation: str, parameters: dict[str, Any]) -> Refused:
    """Another transaction is at one of these items, or the service throttles: no condition was
    looked at, and botocore's retries are used up."""
    code, reason = _REFUSED[what]
    if operation != "TransactWriteItems":
        return Refused(code)
    reasons = [{"Code": "None"} for _ in parameters["TransactItems"]]
    reasons[environment.random.randrange(len(reasons))]["Code"] = reason
    return Refused("TransactionCanceledException", CancellationReasons=reasons)


def _client_error(client: Any, operation: str, refused: Refused) -> Exception:
    answer = {
        "Error": {"Code": refused.code, "Message": refused.message},
        "ResponseMetadata": {"HTTPStatusCode": refused.status},
        **refused.more,
    }
    made: Exception = client.exceptions.from_code(refused.code)(answer, operation)
    return made


def _failure(client: Any, operation: str, after: bool) -> Exception:
    """After all of botocore's own retries. Whether it had an effect, the caller cannot tell."""
    if environment.random.random() < 0.5:
        return _client_error(
            client, operation, Refused("InternalServerError", "try again", status=500)
        )
    if after:
        return botocore.exceptions.ReadTimeoutError(endpoint_url="https://aws.sim")
    return botocore.exceptions.EndpointConnectionError(endpoint_url="https://aws.sim")


# What sends the body, by the invocation that sends it: on AWS each has a process of its own, and so
# a client; here they share one, and one would send another's body.
_senders: dict[int, Callable[..., Any]] = {}
_really_register = botocore.hooks.HierarchicalEmitter.register


def _register(hooks: Any, event_name: str, handler: Any, *rest: Any, **named: Any) -> None:
    if event_name == "before-send.s3.PutObject":
        _senders[id(environment.account.clock.current)] = handler
    _really_register(hooks, event_name, handler, *rest, **named)


def _put_streamed(client: Any, parameters: dict[str, Any]) -> Any:
    """PutObject of what is carried by hand: botocore asks its before-send hooks to send the
    request, and so do we."""
    url = f"http://{S3_HOST}/{parameters['Bucket']}/{parameters['Key']}?{SIGNED_QUERY}"
    request = AWSRequest(
        "PUT", url, headers={"if-none-match": parameters.get("IfNoneMatch", "")}
    ).prepare()
    answer = _senders[id(environment.account.clock.current)](request=request)
    status = answer.status_code
    if status >= 300:
        code = "PreconditionFailed" if status == 412 else "InternalError"
        raise _client_error(client, "PutObject", Refused(code, status=status))
    return {"ETag": answer.headers.get("etag")}


# The providers, and our own presigned links.


def _handle_request(_transport: Any, request: httpx.Request) -> httpx.Response:
    request.read()
    host = request.url.host
    if host.endswith(".amazonaws.com"):
        return _answer("link GET", lambda: presigned(str(request.url)), request)
    return _answer(
        f"{host.split('.')[0]} {request.method}", lambda: environment.serve(request), request
    )


def _answer(
    site: str, effect: Callable[[], httpx.Response], request: httpx.Request
) -> httpx.Response:
    def failing(after: bool) -> Any:
        return _http_failure(after, request)

    try:
        answer = environment.account.clock.wire(site, effect, failing)
    except _Answered as failed:
        answer = failed.response
    assert isinstance(answer, httpx.Response)
    return answer


class _Answered(Exception):
    """A failure that is an HTTP answer."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        page = f"<html><title>{status} from a proxy</title></html>"
        self.response = httpx.Response(
            status, headers={"content-type": "text/html"}, content=page.encode()
        )


def _http_failure(after: bool, request: httpx.Request) -> Exception:
    """Nothing in an ambiguous failure shows whether the request arrived."""
    chance = environment.random.random()
    if not after and chance < 0.4:
        return httpx.ConnectError("connection refused", request=request)
    if chance < 0.6:
        return httpx.ReadTimeout("the read timed out", request=request)
    if chance < 0.8:
        return httpx.RemoteProtocolError("server disconnected", request=request)
    return _Answered(502 if chance < 0.9 else 504)


def presigned(url: str) -> httpx.Response:
    """A presigned GET, as anybody may send it."""
    parsed = httpx.URL(url)
    signed = {"X-Amz-Signature", "X-Amz-Expires", "X-Amz-Algorithm"} <= set(parsed.params)
    stored = environment.account.buckets.find(
        parsed.host.split(".")[0], parsed.path[1:], parsed.params.get("versionId")
    )
    if not signed or stored is None:
        return httpx.Response(403 if not signed else 404)
    return httpx.Response(200, content=stored.body[:1])
