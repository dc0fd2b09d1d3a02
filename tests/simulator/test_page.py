"""Every request of docs/simulator.md is answered as the page says."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import httpx

from tests.simulator.conftest import Client

ROOT = Path(__file__).parents[2]
PORTS = ["kie", "kling", "comet", "relay", "relay-b", "relay-d", "results", "control"]


def test_every_request_on_the_page_is_answered(open_client: Any) -> None:
    client = open_client(callbacks=False, kie_queries_per_second=0)
    task, tried = "", 0
    for command in _commands():
        answer = _run(client, command, task)
        assert answer.status_code == 200, f"{command}: {answer.text}"
        body = answer.json()
        assert body.get("code", 0) in (0, 200, "success"), f"{command}: {answer.text}"
        data = body.get("data") if isinstance(body.get("data"), dict) else body
        task = data.get("taskId") or data.get("task_id") or task
        tried += 1
    assert tried >= 25


def test_the_simulator_shares_nothing_with_our_clients() -> None:
    """A misreading of the documentation that both shared would never be found."""
    for module in (ROOT / "local" / "simulator").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not any(
                name.split(".")[0] in ("functions", "infra", "talkdrop") for name in named
            ), module


def _commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "simulator.md").read_text(), re.DOTALL)
    starts = [
        block
        for text in blocks
        for block in re.split(r"(?m)^(?=curl )", text)
        if block.startswith("curl ")
    ]
    return [shlex.split(start.replace("\\\n", " ")) for start in starts]


def _run(client: Client, command: list[str], task: str) -> httpx.Response:
    method, url, headers, data, form = "", "", {}, None, {}
    words = iter(command[1:])
    for word in words:
        if word == "--request":
            method = next(words)
        elif word == "--header":
            name, _, headers_value = next(words).partition(": ")
            headers[name] = headers_value
        elif word == "--data":
            data = next(words).encode()
        elif word == "--form":
            name, _, value = next(words).partition("=")
            form[name] = (ROOT / value[1:]).open("rb") if value.startswith("@") else (None, value)
        else:
            url = next(words) if word == "--url" else word
    found = re.match(r"http://127\.0\.0\.1:860(\d)(.*)", url)
    assert found, url
    address = client.simulator.addresses[PORTS[int(found[1])]] + found[2].replace("$TASK", task)
    given: dict[str, Any] = {"files": form} if form else {"content": data}
    answer = client.http.request(
        method or ("POST" if data or form else "GET"), address, headers=headers, **given
    )
    for file in form.values():
        if not isinstance(file, tuple):
            file.close()
    return answer
