"""`talkdrop mcp`, by a real MCP client over stdio."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.talkdrop.conftest import STACK, Account

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import ClientSession, StdioServerParameters, stdio_client

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


def _content(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content[0].text)
    return found
