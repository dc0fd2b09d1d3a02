"""The API's description as one page to read."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:.9em/1.45 ui-monospace,monospace}
pre{overflow-x:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top}
section{border-top:1px solid #8886;margin-top:1.5rem}h2{font-size:1.1rem}
"""


def page(made: Schema) -> str:
    """The reference as one page: no script, and nothing is loaded from anywhere."""
    sections = "\n".join(
        _section(method.upper(), path, operation)
        for path, methods in made["paths"].items()
        for method, operation in methods.items()
    )
    shapes_ = "\n".join(
        f'<section id="{_text(name)}"><h2>{_text(name)}</h2>'
        f"<p>{_text(schema.get('description', ''))}</p>"
        f"{_fields(schema)}</section>"
        for name, schema in made["components"]["schemas"].items()
    )
    about = _text(made["info"]["description"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Talkdrop API</title><style>{_STYLE}</style></head><body><h1>Talkdrop API</h1>"
        f"<p>{about}</p>\n{sections}\n<h1>Shapes</h1>\n{shapes_}\n</body></html>\n"
    )


def _section(method: str, path: str, operation: Schema) -> str:
    parts = [
        f"<section><h2><code>{method} {_text(path)}</code></h2><p>{_text(operation['summary'])}</p>"
    ]
    rows = [
        (f"<code>{_text(one['name'])}</code>", one["in"], _text(one["description"]))
        for one in operation.get("parameters", [])
    ]
    parts.append(_table(rows))
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        parts.append(f"<p>Body: {_named(content['schema'])}</p>")
        parts.append(f"<pre>{_text(json.dumps(content.get('example', {}), indent=2))}</pre>")
    answers = [
        (f"<code>{status}</code>", _text(one["description"]), _shape_of(one))
        for status, one in operation["responses"].items()
    ]
    return "".join([*parts, _table(answers), "</section>"])


def _shape_of(answer: Schema) -> str:
    return " ".join(_named(one["schema"]) for one in answer.get("content", {}).values())


def _fields(schema: Schema) -> str:
    required = set(schema.get("required", []))
    rows = [
        (f"<code>{_text(name)}</code>", _named(one), "" if name in required else "optional")
        for name, one in schema.get("properties", {}).items()
    ]
    return _table(rows)


def _named(schema: Schema) -> str:
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_named(one) for one in schema["anyOf"])
    if "items" in schema:
        return f"list of {_named(schema['items'])}"
    return _text(str(schema.get("type", "any")))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{lines}</table>" if lines else ""


def _text(text: str) -> str:
    return html.escape(text)
