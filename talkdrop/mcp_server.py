"""An MCP server over stdio: an agent quotes, submits, lists, cancels and gets videos by the tasks
API. https://modelcontextprotocol.io/specification"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, Field

from functions.api.views import TaskView
from functions.tasks.task import Status
from talkdrop import files
from talkdrop.client import Client
from talkdrop.wire import ApiError, Unreachable

P = ParamSpec("P")
T = TypeVar("T")

_INSTRUCTIONS = """Talkdrop makes talking videos from a portrait and a voice, and each costs money.
Quote first. Give submit an idempotency_key that you make once per video and keep: the same key and
files never charge twice, so after any error or doubt repeat submit with the SAME key. Status HELD
means that a person must decide; do not submit again: call decide, which asks your user."""


class Choice(BaseModel):
    """What the user decided about a held task: the form that the client shows."""

    decision: Literal["adopt", "fail"] = Field(
        description="adopt a job found at the provider, or give the task up"
    )
    job_id: str = Field("", description="for adopt: the job's id at the provider")
    why: str = Field(min_length=1, max_length=500, description="the reason, for the history")


def server(client: Client) -> MCPServer[Any]:
    """The tools, over this client."""
    # At INFO each request of ours is a line of the client's log.
    made: MCPServer[Any] = MCPServer("talkdrop", instructions=_INSTRUCTIONS, log_level="WARNING")
    tools = Tools(client)
    for tool in (tools.quote, tools.submit, tools.get, tools.cancel, tools.video):
        made.add_tool(_in_words(tool))
    made.add_tool(_in_words(tools.list_tasks), name="list")
    made.add_tool(_decide(tools))
    return made


def _in_words(tool: Callable[P, T]) -> Callable[P, T]:
    """Tell the agent why something is refused: MCP shows it no other exception than its own, and
    who reads no reason makes a new idempotency_key."""

    @wraps(tool)
    def answering(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return tool(*args, **kwargs)
        except ApiError as error:
            raise ToolError(error.in_words) from error
        except (Unreachable, files.Unusable) as error:
            raise ToolError(str(error)) from error
        except OSError as error:
            raise ToolError(f"{error.filename or 'this machine'}: {error.strerror}") from error

    return answering


def _decide(tools: Tools) -> Callable[..., str]:
    def decide(task: str, choice: ElicitationResult[Choice]) -> str:
        """Have the user decide about a HELD task: the user fills in a form, never you. One more
        attempt, which may be a second charge, is offered by the page and the command line only."""
        return _in_words(tools.decide)(task, choice)

    # MCP fills the parameter by `ask`, not from the model. The hint names a bound method, which
    # written as a text it could not.
    question = Resolve(_in_words(tools.ask))
    decide.__annotations__["choice"] = Annotated[ElicitationResult[Choice], question]
    return decide


class Tools:
    """What an agent may do, each a tool of this name: their texts are what it reads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def quote(
        self, audio_seconds: float, provider: str | None = None, model: str | None = None
    ) -> dict[str, object]:
        """What a video with so many seconds of voice would cost, in USD. Spends nothing."""
        return dict(self._client.quote(audio_seconds=audio_seconds, provider=provider, model=model))

    def submit(
        self,
        portrait_path: str,
        voice_path: str,
        idempotency_key: str,
        max_usd: float,
        folder: str = "",
        prompt: str = "",
        provider: str | None = None,
        model: str | None = None,
    ) -> dict[str, object]:
        """Upload a portrait and a voice of this machine and open one task. COSTS MONEY, at most
        max_usd. Keep idempotency_key: repeated with the same key and files it is the same task and
        costs nothing more; a new key is a new charge."""
        task = self._client.submit(
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

    def get(self, task: str) -> dict[str, object]:
        """One task by its id or the first digits of it: status, price, error, what may be done."""
        return dict(self._client.task(task))

    def ask(self, task: str) -> Elicit[Choice]:
        """Raises ToolError where there is nothing to decide."""
        return Elicit(_question(self._client.task(task)), Choice)

    def decide(self, task: str, choice: ElicitationResult[Choice]) -> str:
        if not isinstance(choice, AcceptedElicitation):
            return "nothing was decided: the task stays HELD"
        if choice.data.decision == "adopt":
            return self._client.adopt(task, choice.data.job_id, choice.data.why)
        return self._client.fail(task, choice.data.why)

    def list_tasks(
        self, status: str = "", folder: str = "", query: str = "", limit: int = 20
    ) -> list[dict[str, object]]:
        """Tasks, newest first, by status, folder, or text in their name, prompt or error."""
        page = self._client.page(
            status=status, prefix=folder, q=query, limit=max(1, min(limit, 100))
        )
        return [dict(task) for task in page["tasks"]]

    def cancel(self, task: str, why: str) -> str:
        """Cancel a task that was not sent yet. What is sent is paid and goes on."""
        return self._client.cancel(task, why)

    def video(self, task: str) -> str:
        """A link to a completed task's video; it lives a quarter of an hour."""
        return self._client.link(task, "video")


def _question(task: TaskView) -> str:
    """What the user must know to decide."""
    if task["status"] != Status.HELD:
        raise ToolError(f"the task is {task['status']}: only a HELD one waits for a decision")
    error = task["error"] or {"code": "", "message": ""}
    risks = [f"{name}: {task['actions'][name]}" for name in ("adopt", "fail")]
    return "\n".join([f"{task['folder']}{task['stem']} is held: {error['message']}", *risks])


def serve(stack: str) -> None:
    with Client.of_stack(stack) as client:
        server(client).run("stdio")
