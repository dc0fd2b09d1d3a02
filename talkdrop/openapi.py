"""The API's reference, made at build time: `python -m talkdrop.openapi` writes
`functions/api/openapi.json` (OpenAPI 3.1) and `functions/api/reference.html`.

The shapes are those that the API checks and answers with, so the two cannot differ; a test compares
the committed files with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from typing_extensions import TypedDict

from functions.api import health, offers, routes, shapes, tasks, views
from functions.providers import NAMES
from functions.tasks.task import Status
from talkdrop import reference
from talkdrop.reference import Schema

HERE = Path(routes.__file__).parent
_REF = "#/components/schemas/{model}"


class ErrorLine(TypedDict):
    """One reason: the field it is about, and the cure in its message."""

    field: str
    code: str
    message: str


class Problem(TypedDict, total=False):
    """Problem details (RFC 9457); `errors` are all the reasons."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ErrorLine]


class Decision(TypedDict):
    """What was done, in words, and the task as it is now."""

    result: str
    task: views.TaskView


class RefusedTask(TypedDict):
    task_id: str
    why: str


class FolderCancelled(TypedDict):
    """`cursor` goes on with the folder; null when that was all of it."""

    cancelled: list[str]
    refused: list[RefusedTask]
    cursor: str | None


@dataclass(frozen=True)
class Operation:
    """One route. `answers` by status: a shape, or None for an answer without one."""

    id: str
    summary: str
    answers: dict[int, Any]
    body: type[BaseModel] | None = None
    example: dict[str, Any] | None = None
    query: dict[str, tuple[Schema, str]] = field(default_factory=dict)
    header: dict[str, tuple[Schema, str]] = field(default_factory=dict)
    problems: tuple[int, ...] = ()


_STRING: Schema = {"type": "string"}
_INSTANT: Schema = {
    "type": "string",
    "pattern": shapes.INSTANT,
    "examples": ["2026-11-21", "2026-11-21T09:30:00Z"],
}
_LINK: dict[int, Any] = {302: None, 200: views.LinkView}
_AS: dict[str, tuple[Schema, str]] = {
    "as": (
        {"type": "string", "enum": [*tasks.LINK_SHAPES], "default": "redirect"},
        "redirect, or the link as JSON; an attachment is saved by a browser and not shown",
    )
}
_LIST: dict[str, tuple[Schema, str]] = {
    "status": ({"type": "string", "enum": [*Status, ""]}, "only tasks in this status"),
    "since": (_INSTANT, "opened at or after this day or instant, UTC"),
    "until": (_INSTANT, "opened at or before; a day counts whole"),
    "prefix": (_STRING, "folder and name begin so"),
    "provider": ({"type": "string", "enum": [*NAMES, ""]}, "only tasks of this provider"),
    "key": (_STRING, "the task of the voice that lies under this key of the inbox; alone"),
    "q": (_STRING, "stands in id, folder, name, prompt or error"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "tasks on a page"),
    "cursor": ({"type": "string", "pattern": shapes.CURSOR}, "from the page before"),
}
_KEY = ({"type": "string", "maxLength": 255}, "the same key and body are the same task")
_NEW_TASK = {
    "portrait": "_talkdrop/uploads/episode-12/ada.png",
    "audio": "_talkdrop/uploads/episode-12/01.mp3",
    "prompt": "she smiles",
    "provider": "kie",
    "settings": {"resolution": "480p"},
}

OPERATIONS: dict[str, Operation] = {
    "POST /tasks": Operation(
        "openTask", "Open a task: one video, charged once",
        {201: views.TaskView, 200: views.TaskView},
        body=shapes.NewTask, example=_NEW_TASK, header={"Idempotency-Key": _KEY},
        problems=(400, 413, 422),
    ),
    "GET /tasks": Operation(
        "listTasks", "List tasks, newest first", {200: views.TaskPage}, query=_LIST, problems=(400,)
    ),
    "GET /tasks/{task_id}": Operation(
        "showTask", "One task with its history", {200: views.TaskView}, problems=(404, 409)
    ),
    "GET /tasks/{task_id}/video": Operation(
        "video", "A short presigned link to the video", _LINK, query=_AS, problems=(400, 404, 409)
    ),
    "GET /tasks/{task_id}/portrait": Operation(
        "portrait", "A short presigned link to the portrait", _LINK, query=_AS, problems=(400, 404, 409)
    ),
    "GET /tasks/{task_id}/voice": Operation(
        "voice", "A short presigned link to the voice", _LINK, query=_AS, problems=(400, 404, 409)
    ),
    "GET /tasks/{task_id}/manifest": Operation(
        "manifest", "A short presigned link to the manifest", _LINK, query=_AS, problems=(400, 404, 409)
    ),
    "POST /tasks/{task_id}/cancel": Operation(
        "cancelTask", "Cancel what was not sent yet", {200: Decision},
        body=shapes.Cancellation, example={"why": "not needed"}, problems=(400, 404, 409, 413, 422),
    ),
    "POST /tasks/{task_id}/adopt": Operation(
        "adoptJob", "A job found at the provider is this task's", {200: Decision},
        body=shapes.Adoption,
        example={"job_id": "e989621f54392584b05867f87b160672",
        "why": "found in the provider's list"},
        problems=(400, 404, 409, 413, 422),
    ),
    "POST /tasks/{task_id}/resubmit": Operation(
        "resubmitTask", "A new attempt, paid anew", {200: Decision}, body=shapes.Resubmission,
        example={"why": "the file was replaced"}, problems=(400, 404, 409, 413, 422),
    ),
    "POST /tasks/{task_id}/fail": Operation(
        "failTask", "Give a held task up", {200: Decision}, body=shapes.Failure,
        example={"why": "too late now"}, problems=(400, 404, 409, 413, 422),
    ),
    "POST /cancel": Operation(
        "cancelFolder", "Cancel what of a folder was not sent yet", {200: FolderCancelled},
        body=shapes.FolderCancellation, example={"prefix": "episode-12/"}, problems=(400, 413, 422),
    ),
    "POST /uploads": Operation(
        "newUpload", "A form to put one file into the inbox", {201: offers.UploadView},
        body=shapes.NewUpload,
        example={"name": "01.mp3", "folder": "episode-12", "content_type": "audio/mpeg",
        "bytes": 117_000},
        problems=(400, 413, 422),
    ),
    "POST /quote": Operation(
        "quote", "What a video would cost; nothing is opened", {200: offers.QuoteView},
        body=shapes.QuoteRequest, example={"provider": "kie", "audio_seconds": 7.3},
        problems=(400, 413, 422),
    ),
    "GET /models": Operation(
        "listModels", "Providers and models: limits, prices, usual time, state",
        {200: offers.Models}
    ),
    "GET /health": Operation(
        "health", "Queues, dead letters, held tasks, stopped providers, budgets",
        {200: health.Health}
    ),
    "GET /openapi.json": Operation("openapi", "This description", {200: dict[str, Any]}),
    "GET /docs": Operation("reference", "The same, to read", {200: str}),
}  # fmt: skip

_PROBLEMS = {
    400: "a parameter, header or body that cannot be read",
    404: "no such task or file",
    409: "not in this status, or more than one task is named so",
    413: "the body is larger than 256 KiB",
    422: "refused, with every reason and its field",
}


def document() -> Schema:
    """The OpenAPI document."""
    components: Schema = {}
    paths: dict[str, Schema] = {}
    for route in routes.ROUTES:
        method, path = route.split()
        paths.setdefault(path, {})[method.lower()] = _operation(path, OPERATIONS[route], components)
    _model(Problem, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Talkdrop",
            "version": "1",
            "description": "A face and a voice go in, a talking video comes out. Requests are "
            "signed with SigV4 for the service execute-api, or carry a bearer token where the "
            "stack has a JWT authorizer.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "{ApiUrl}", "variables": {"ApiUrl": {"default": "https://example.com"}}}],
        "security": [{"sigv4": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey", "name": "Authorization", "in": "header",
                    "description": "AWS Signature Version 4, service execute-api",
                },
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }  # fmt: skip


def _operation(path: str, one: Operation, components: Schema) -> Schema:
    made: Schema = {"operationId": one.id, "summary": one.summary}
    if parameters := [*_parameters(path, one)]:
        made["parameters"] = parameters
    if one.body:
        content: Schema = {"schema": _model(one.body, components)}
        if one.example:
            content["example"] = one.example
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    made["responses"] = {
        **{
            str(status): _answer(status, shape, components) for status, shape in one.answers.items()
        },
        **{str(status): _problem(status) for status in one.problems},
    }
    return made


def _parameters(path: str, one: Operation) -> Iterator[Schema]:
    if "{task_id}" in path:
        description = "its id, the first 4 or more digits of it, or its voice's key without slashes (with: GET /tasks?key=)"
        yield {
            "name": "task_id", "in": "path", "required": True,
            "schema": {"type": "string", "minLength": 1},
            "description": description,
        }  # fmt: skip
    for where, given in (("query", one.query), ("header", one.header)):
        for name, (schema, description) in given.items():
            yield {"name": name, "in": where, "schema": schema, "description": description}


def _answer(status: int, shape: Any, components: Schema) -> Schema:
    if shape is None:
        location = {"Location": {"schema": {"type": "string", "format": "uri"}}}
        return {"description": "the link is in Location", "headers": location}
    words = {200: "done", 201: "made"}
    kind = "text/html" if shape is str else "application/json"
    return {
        "description": words[status], "content": {kind: {"schema": _model(shape, components)}}
    }  # fmt: skip


def _problem(status: int) -> Schema:
    schema = {"$ref": _REF.format(model="Problem")}
    return {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": schema}},
    }


def _model(shape: Any, components: Schema) -> Schema:
    """A reference to the shape's schema, which is put among the components."""
    if shape in (str, dict[str, Any]):
        return {"type": "string" if shape is str else "object"}
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        _, made = models_json_schema([(shape, "validation")], ref_template=_REF)
        components |= made["$defs"]
    else:
        schema = TypeAdapter(shape).json_schema(ref_template=_REF, mode="serialization")
        components |= schema.pop("$defs", {})
        if "$ref" not in schema:
            components[shape.__name__] = schema
    return {"$ref": _REF.format(model=shape.__name__)}


def files() -> dict[Path, str]:
    """The two committed files, as they should be."""
    made = document()
    text = json.dumps(made, indent=1, ensure_ascii=False, default=str) + "\n"
    return {HERE / "openapi.json": text, HERE / "reference.html": reference.page(made)}


def main() -> None:
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(HERE.parents[1]))


if __name__ == "__main__":
    main()
