"""Talkdrop for the person in charge: see a task's whole story, and decide what only a person may
decide.

    python -m talkdrop explain TASK
    python -m talkdrop adopt TASK JOB_ID --why "found at kie.ai/logs"
    python -m talkdrop resubmit TASK --why "…" [--i-accept-a-second-charge]
    python -m talkdrop fail TASK --why "…"
    python -m talkdrop reopen PROVIDER
    python -m talkdrop verify [--task TASK]

Works on any stack that your AWS credentials reach (--stack), and on the embedded run by
AWS_ENDPOINT_URL. Exit codes: 0 done, 1 refused or something does not agree, 2 wrong usage, 3 the
stack or AWS cannot be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from functions.tasks.task import Task
from talkdrop import actions, explain, stack, verify

Act = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    act: Act = arguments.act
    try:
        stack.enter(arguments.stack)
        return act(arguments)
    except actions.Refused as refused:
        print(f"Refused: {refused}", file=sys.stderr)
        return 1
    except (stack.NoStack, ClientError, BotoCoreError) as error:
        print(f"Talkdrop could not ask: {error}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m talkdrop", description="Talkdrop for the person in charge."
    )
    parser.add_argument(
        "--stack", default="Talkdrop", help="the CloudFormation stack (default: %(default)s)"
    )
    sub = parser.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, act: Act, help: str, *, why: bool = False, task: bool = True
    ) -> argparse.ArgumentParser:
        one = sub.add_parser(name, help=help)
        one.set_defaults(act=act)
        if task:
            one.add_argument("task", help="the task id")
        if why:
            one.add_argument("--why", required=True, help="the reason, for the task's history")
        return one

    verb("explain", _explain, "a task's whole story on one page")
    verb("adopt", _adopt, "a job found at the provider is this task's", why=True).add_argument(
        "job_id"
    )
    verb("resubmit", _resubmit, "open a new attempt, paid anew", why=True).add_argument(
        "--i-accept-a-second-charge",
        action="store_true",
        help="the last attempt may have been charged, and that is accepted",
    )
    verb("fail", _fail, "no video will come of a HELD task", why=True)
    verb("reopen", _reopen, "submit to a stopped provider again", task=False).add_argument(
        "provider"
    )
    verb("verify", _verify, "read archived videos again and compare", task=False).add_argument(
        "--task", help="only this one"
    )
    return parser


def _explain(arguments: argparse.Namespace) -> int:
    return _say(explain.page(actions.find(arguments.task)))


def _adopt(arguments: argparse.Namespace) -> int:
    return _say(
        actions.adopt(actions.find(arguments.task), arguments.job_id, stack.who(), arguments.why)
    )


def _resubmit(arguments: argparse.Namespace) -> int:
    accepts = bool(arguments.i_accept_a_second_charge)
    task = actions.find(arguments.task)
    return _say(actions.resubmit(task, stack.who(), arguments.why, accepts_a_second_charge=accepts))


def _fail(arguments: argparse.Namespace) -> int:
    return _say(actions.fail(actions.find(arguments.task), stack.who(), arguments.why))


def _reopen(arguments: argparse.Namespace) -> int:
    return _say(actions.reopen(arguments.provider, stack.who()))


def _verify(arguments: argparse.Namespace) -> int:
    looked = bad = 0
    for name, found in _of(actions.find(arguments.task)) if arguments.task else verify.everything():
        looked += 1
        bad += bool(found)
        for line in found:
            _say(f"{name}: {line}")
    _say(f"{looked} looked at, {looked - bad} agree, {bad} do not")
    return 1 if bad else 0


def _of(task: Task) -> Iterator[tuple[str, list[str]]]:
    yield task.task_id, list(verify.disagreements(task))


def _say(text: str) -> int:
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
