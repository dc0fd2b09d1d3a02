"""How a request is read and answered; errors are problem details (RFC 9457) that name the field and
the cure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from pydantic import BaseModel, ValidationError

from functions.inputs import request
from functions.inputs.refusals import Refusal

app = APIGatewayHttpResolver()

MOST_BODY_BYTES = 256 << 10
# Between the user pool and the person's `sub`, in the references of a Cognito identity:
# https://docs.aws.amazon.com/cognito/latest/developerguide/role-based-access-control.html
_SIGNED_IN = ":CognitoSignIn:"
_MOST_REASONS_IN_DETAIL = 5

Body = TypeVar("Body", bound=BaseModel)


class Problem(Exception):
    """An answer that is no: becomes `application/problem+json`."""

    def __init__(self, status: HTTPStatus, detail: str, refusals: Sequence[Refusal] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.refusals = refusals


def body_as(model: type[Body]) -> Body:
    """The request's body. Raises Problem: 400 not text, 413 too large, 422 not of this model."""
    try:
        return model.model_validate_json(_text() or b"{}")
    except ValidationError as error:
        refusals = [
            Refusal("INVALID", ".".join(str(part) for part in line["loc"]) or "body", line["msg"])
            for line in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        shown = [f"{one.field}: {one.message}" for one in refusals[:_MOST_REASONS_IN_DETAIL]]
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(shown), refusals) from None


def _text() -> bytes:
    event = app.current_event
    raw = (event.body or "").encode("utf-8", "surrogatepass")
    try:
        content = base64.b64decode(raw, validate=True) if event.is_base64_encoded else raw
        content.decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "the body is not UTF-8 text: send JSON, encoded as UTF-8"
        ) from None
    if len(content) > MOST_BODY_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "the body is larger than 256 KiB: media go by key or URL",
        )
    return content


def query() -> Mapping[str, str]:
    return app.current_event.query_string_parameters or {}


def caller() -> str:
    """Who acts, for the task's history: the IAM identity that signed, or the subject of a token. A
    group of the page is one role, so its person is named by Cognito's id (`sub`) as well."""
    context = app.current_event.raw_event.get("requestContext") or {}
    authorizer = context.get("authorizer") or {}
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    iam = authorizer.get("iam") or {}
    references = (iam.get("cognitoIdentity") or {}).get("amr") or []
    people = [one.rpartition(_SIGNED_IN)[2] for one in references if _SIGNED_IN in one]
    identity = " ".join([*people, iam.get("userArn") or ""]).strip()
    return str(identity or claims.get("email") or claims.get("sub") or "the API")[:256]


def answer(status: HTTPStatus, body: object, **headers: str) -> Response[str]:
    return Response(
        status_code=status,
        content_type=content_types.APPLICATION_JSON,
        body=json.dumps(body, ensure_ascii=False, default=float),
        headers=dict(headers),
    )


def redirect(url: str) -> Response[str]:
    """To a presigned link: not to be kept, it dies in minutes."""
    headers = {"Location": url, "Cache-Control": "no-store"}
    return Response(status_code=HTTPStatus.FOUND, body="", headers=dict(headers))


def problem_details(problem: Problem) -> Response[str]:
    errors = [
        {"field": line.field, "code": line.code, "message": line.message}
        for line in problem.refusals
    ]
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status,
        "detail": str(problem),
    }
    return Response(
        status_code=problem.status,
        content_type="application/problem+json",
        body=json.dumps(body | ({"errors": errors} if errors else {}), ensure_ascii=False),
    )


@app.exception_handler(Problem)  # type: ignore[untyped-decorator]
def _problem(problem: Problem) -> Response[str]:
    return problem_details(problem)


@app.exception_handler(request.Refused)  # type: ignore[untyped-decorator]
def _refused(refused: request.Refused) -> Response[str]:
    return problem_details(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(refused), refused.refusals))


@app.exception_handler(NotFoundError)  # type: ignore[untyped-decorator]
def _no_such_route(_: NotFoundError) -> Response[str]:
    return problem_details(
        Problem(HTTPStatus.NOT_FOUND, "there is no such address: GET /openapi.json lists them all")
    )
