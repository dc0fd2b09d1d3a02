"""An MCP server over stdio: an agent quotes, submits, lists, cancels and gets videos by the tasks
API. https://modelcontextprotocol.io/specification"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcp.server import MCPServer

from talkdrop.client import Client

_INSTRUCTIONS = """Talkdrop makes talking videos from a portrait and a voice, and each costs money.
Quote first. Give submit an idempotency_key that you make once per video and keep: the same key and
files never charge twice, so after any error or doubt repeat submit with the SAME key. Status HELD
means that a person must decide; do not submit again, tell your user."""


def server(client: Client) -> MCPServer[Any]:
    """The tools, over this client."""
    made: MCPServer[Any] = MCPServer("talkdrop", instructions=_INSTRUCTIONS)

    @made.tool()
    def quote(
        audio_seconds: float, provider: str | None = None, model: str | None = None
    ) -> dict[str, Any]:
        """What a video with so many seconds of voice would cost, in USD. Spends nothing."""
        return dict(client.quote(audio_seconds=audio_seconds, provider=provider, model=model))

    @made.tool()
    def submit(
        portrait_path: str,
        voice_path: str,
        idempotency_key: str,
        max_usd: float,
        folder: str = "",
        prompt: str = "",
        provider: str | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Upload a portrait and a voice of this machine and open one task. COSTS MONEY, at most
        max_usd. Keep idempotency_key: repeated with the same key and files it is the same task and
        costs nothing more; a new key is a new charge."""
        task = client.submit(
            Path(portrait_path),
            Path(voice_path),
            folder=folder,
            prompt=prompt,
            provider=provider,
            model=model,
            max_usd=max_usd,
            idempotency_key=idempotency_key,
        )
        return dict(task)

    @made.tool()
    def get(task: str) -> dict[str, Any]:
        """One task by its id or the first digits of it: status, price, error, what may be done."""
        return dict(client.task(task))

    @made.tool(name="list")
    def list_tasks(
        status: str = "", folder: str = "", query: str = "", limit: int = 20
    ) -> list[dict[str, Any]]:
        """Tasks, newest first, by status, folder, or text in their name, prompt or error."""
        page = client.page(status=status, prefix=folder, q=query, limit=max(1, min(limit, 100)))
        return [dict(task) for task in page["tasks"]]

    @made.tool()
    def cancel(task: str, why: str) -> str:
        """Cancel a task that was not sent yet. What is sent is paid and goes on."""
        return client.cancel(task, why)

    @made.tool()
    def video(task: str) -> str:
        """A link to a completed task's video; it lives a quarter of an hour."""
        return client.link(task, "video")

    return made


def serve(stack: str) -> None:
    with Client.of_stack(stack) as client:
        server(client).run("stdio")
