"""`talkdrop mcp`, by a real MCP client over stdio."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from functions.tasks import queries
from functions.tasks.task import Status
from tests.talkdrop.conftest import STACK, Account

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp_types import ElicitResult, ErrorData

SAMPLES = Path("local/samples").resolve()


def test_an_agent_quotes_submits_twice_with_one_key_and_gets_one_task(account: Account) -> None:
    outcome = anyio.run(_talk)
    assert {"quote", "submit", "get", "list", "cancel", "video"} <= outcome["tools"]
    assert "idempotency_key" in outcome["description"]
    assert outcome["quote"]["quote_usd"] > 0
    assert outcome["ids"][0] == outcome["ids"][1]
    assert outcome["status"] == "READY"
    account.submissions()


async def _talk() -> dict[str, Any]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "talkdrop", "--stack", STACK, "mcp"],
        env=dict(os.environ),
    )
    media = {
        "portrait_path": str(SAMPLES / "portrait.png"),
        "voice_path": str(SAMPLES / "voice.mp3"),
        "idempotency_key": "agent-episode-1",
        "max_usd": 5,
    }
    async with stdio_client(server) as (reading, writing):
        async with ClientSession(reading, writing) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            quote = _content(await session.call_tool("quote", {"audio_seconds": 7.3}))
            made = [_content(await session.call_tool("submit", media)) for _ in range(2)]
            task = _content(await session.call_tool("get", {"task": made[0]["task_id"]}))
    return {
        "tools": {tool.name for tool in tools},
        "description": next(tool.description for tool in tools if tool.name == "submit"),
        "quote": quote,
        "ids": [one["task_id"] for one in made],
        "status": task["status"],
    }


def test_a_held_task_is_decided_by_the_user_and_not_by_the_agent(account: Account) -> None:
    task = account.open("dec1de", error={"code": "AMBIGUOUS", "message": "the answer was lost"})
    outcome = anyio.run(_decide, task.task_id)
    assert "the answer was lost" in outcome["question"]
    assert "still archived" in outcome["question"]
    assert outcome["results"][0] == "nothing was decided: the task stays HELD"
    assert outcome["results"][1].startswith("FAILED")
    assert "only a HELD one" in outcome["results"][2]
    found = queries.load(task.task_id)
    assert found
    assert (found.status, found.error["code"]) == (Status.FAILED, "FAILED_BY_HAND")


async def _decide(task_id: str) -> dict[str, Any]:
    """The user dismisses the form, then fills it in; then there is nothing to decide any more."""
    questions: list[str] = []
    filled = {"decision": "fail", "why": "too late now", "job_id": ""}
    answers = [ElicitResult(action="cancel"), ElicitResult(action="accept", content=filled)]

    async def user(context: Any, params: Any) -> ElicitResult | ErrorData:
        questions.append(params.message)
        return answers[len(questions) - 1]

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "talkdrop", "--stack", STACK, "mcp"],
        env=dict(os.environ),
    )
    async with stdio_client(server) as (reading, writing):
        async with ClientSession(reading, writing, elicitation_callback=user) as session:
            await session.initialize()
            results = [await session.call_tool("decide", {"task": task_id}) for _ in range(3)]
    return {"question": questions[0], "results": [_text(one) for one in results]}


def test_what_is_refused_comes_with_its_reason(account: Account, tmp_path: Path) -> None:
    task_id = account.open("5a1d", status=Status.SUBMITTED).task_id
    face, voice = str(SAMPLES / "portrait.png"), str(SAMPLES / "voice.mp3")
    media = {"portrait_path": face, "voice_path": voice, "idempotency_key": "refused", "max_usd": 5}
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("quote", {"audio_seconds": -1}, "greater than 0"),
        ("quote", {"audio_seconds": 7, "provider": "nobody"}, "use one of comet, kie"),
        ("submit", media | {"max_usd": 0.01}, "a task may cost at most 0.01 USD"),
        ("submit", media | {"portrait_path": "/no/ada.png"}, "/no/ada.png: No such file"),
        ("submit", media | {"voice_path": str(tmp_path)}, "Is a directory"),
        ("submit", media | {"portrait_path": voice, "voice_path": face}, "they are swapped"),
        ("submit", media | {"idempotency_key": "k" * 300}, "longer than 255 characters"),
        ("get", {"task": "nobody"}, "there is no task 'nobody'"),
        ("list", {"status": "lost"}, "there is no status 'lost'"),
        ("cancel", {"task": task_id, "why": "late"}, "only a WAITING or READY one"),
        ("video", {"task": task_id}, "it comes when the task is COMPLETED"),
        ("decide", {"task": "nobody"}, "there is no task 'nobody'"),
    ]
    answers = anyio.run(_call, [(name, arguments) for name, arguments, _ in refused])
    for (name, arguments, reason), answer in zip(refused, answers, strict=True):
        assert answer.is_error, (name, arguments)
        assert reason in _text(answer), (name, arguments)


def test_tasks_are_listed_cancelled_and_their_videos_linked(account: Account) -> None:
    account.open("5a2a", status=Status.READY, intended_at="", stem="agent-waits")
    archived = {"bucket": "b", "key": "videos/v.mp4", "manifest_key": "videos/manifest.json"}
    account.open("5a2b", status=Status.COMPLETED, archived=archived, stem="agent-made")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list", {"query": "agent-", "limit": 0}), ("list", {"query": "agent-waits"}),
        ("cancel", {"task": "5a2a", "why": "not needed"}), ("video", {"task": "5a2b"}),
    ]  # fmt: skip
    one, waits, cancelled, link = anyio.run(_call, calls)
    assert len(one.content) == 1
    assert _content(waits)["stem"] == "agent-waits"
    assert _text(cancelled).startswith("CANCELLED")
    assert "/videos/v.mp4?" in _text(link)
    found = queries.load("5a2a".ljust(32, "0"))
    assert found
    assert found.status is Status.CANCELLED


async def _call(calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "talkdrop", "--stack", STACK, "mcp"],
        env=dict(os.environ),
    )
    async with stdio_client(server) as (reading, writing):
        async with ClientSession(reading, writing) as session:
            await session.initialize()
            return [await session.call_tool(name, arguments) for name, arguments in calls]


def _text(answer: Any) -> str:
    return str(answer.content[0].text)


def _content(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content[0].text)
    return found
