"""The tool by its command line, over a small package of a temporary directory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

from tests.mutation import equivalent
from tests.mutation.project import Project

ROOT = Path(__file__).parents[2]

PROJECT = """
    root = "."
    package = "sample"
    excluded = ["sample/unpaid.py"]
    spare_seconds = 1
    [[session]]
    name = "checks"
    paths = ["checks"]
"""
WRITES = """
    REMOVED = ("doubt", "sent_at")
    BUSY = {"Conflict", "Throttled"}

    class Family(Exception): ...
    class NotSent(Family): ...
    class Doubt(Family): ...

    def claim(update, table, task, logger):
        if not task:
            return None
        update.given("{seen} = :seen AND {calls} = {answered}", seen=task.seen)
        update.set(owner=1, **task.more).add(spent=2)
        update.remove(*REMOVED)
        more = update.given_in("status", [Status.READY]).count_in("entered", "READY")
        more = more.append("history", task).put_in("leases", "a", 1).drop_from("leases", "b")
        logger.info("claimed")
        for one in task.past:
            if one.count < 3 or one.status in [Status.READY, Status.HELD]:
                continue
            one.close()
            table.tell(one)
        try:
            return table.transact(update, {"Update": task.other, "Key": "k"})
        except (KeyError, ValueError) as error:
            raise Doubt from error

    def pay(client, body):
        match client.paid_post("url", body):
            case None:
                raise NotSent("nothing left")
            case _:
                client.put(Body=body, IfNoneMatch="*")
"""
PAID = """
    CAP = 5

    def fits(spent, price):
        if price == 0:
            return True
        return spent + price <= CAP

    def rounded(spent):
        while spent > 9:
            spent -= 1
        return spent

    def unused(one):
        return one is None

    def key(period):
        return f"budget#{period}"

    def handler(event, record):
        if event is not None:
            record(event)
        return "ok"
"""
CHECKS = """
    import pytest
    from sample import paid

    @pytest.mark.parametrize("spent", range(9))
    def test_a_price_fits_under_the_cap(spent):
        assert paid.fits(spent, 1) == (spent < 5)

    def test_nothing_always_fits():
        assert paid.fits(100, 0)

    def test_what_is_rounded_is_nine():
        assert paid.rounded(12) == 9

    def test_a_key_names_its_period():
        assert paid.key("2026-03") == "budget#2026-03"

    def test_a_failure_leaves_the_handler():
        assert paid.handler(None, None) == "ok"
        with pytest.raises(ZeroDivisionError):
            paid.handler(1, lambda event: event / 0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "project.toml": PROJECT, "sample/__init__.py": "", "sample/writes.py": WRITES,
        "sample/paid.py": PAID, "sample/unpaid.py": "A = 1 < 2\n", "checks/test_paid.py": CHECKS,
    }  # fmt: skip
    for name, text in files.items():
        write(tmp_path, name, text)
    return tmp_path


def write(project: Path, name: str, text: str) -> None:
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(dedent(text))


def tool(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutation", "--project", str(project / "project.toml")]
    return subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)


def ids(project: Path, *patterns: str) -> list[str]:
    return tool(project, "list", *patterns).stdout.split()


def changes(project: Path, pattern: str) -> set[str]:
    """The lines that mutants bring, each without its indentation."""
    shown = tool(project, "show", pattern).stdout.splitlines()
    return {line[1:].strip() for line in shown if line.startswith("+") and line[:3] != "+++"}


def test_each_kind_of_change_is_made_where_its_shape_stands(project: Path) -> None:
    kinds = Counter(one.split(":")[2] for one in ids(project, "sample.writes:*"))
    assert kinds == {
        "condition": 5, "field": 10, "entry": 4, "member": 6, "compare": 2, "operand": 3,
        "constant": 7, "except": 3, "raise": 2, "guard": 2, "effect": 3, "swap": 1, "branch": 3,
        "outcome": 2, "again": 1,
    }  # fmt: skip


def test_each_part_of_a_condition_is_dropped_alone_with_its_values(project: Path) -> None:
    assert changes(project, "sample.writes:claim:condition:*") == {
        'more = update.count_in("entered", "READY")',
        "pass",
        "update.given('{calls} = {answered}')",
        "update.given('{seen} = :seen', seen=task.seen)",
    }


def test_each_field_of_a_write_is_dropped_alone(project: Path) -> None:
    assert changes(project, "sample.writes:*:field:*") == {
        "update.set(**task.more).add(spent=2)",
        "update.set(owner=1).add(spent=2)",
        "update.set(owner=1, **task.more)",
        "REMOVED = (('sent_at',))",
        "REMOVED = (('doubt',))",
        "pass",  # the whole of remove(*REMOVED)
        'more = update.given_in("status", [Status.READY])',
        'more = more.put_in("leases", "a", 1).drop_from("leases", "b")',
        'more = more.append("history", task).drop_from("leases", "b")',
        'more = more.append("history", task).put_in("leases", "a", 1)',
    }


def test_a_comparison_an_except_and_a_guard_are_changed_one_at_a_time(project: Path) -> None:
    assert "if (one.count <= 3) or one.status in [Status.READY, Status.HELD]:" in changes(
        project, "sample.writes:claim:compare:*"
    )
    assert "except Exception as error:" in changes(project, "sample.writes:claim:except:*")
    assert changes(project, "sample.writes:claim:guard:*") == {"if False:"}


def test_an_outcome_becomes_its_sibling_and_a_paid_call_comes_twice(project: Path) -> None:
    assert changes(project, "*:outcome:*") == {
        "raise NotSent from error",
        'raise Doubt("nothing left")',
    }
    assert changes(project, "*:again:*") == {'client.paid_post("url", body)'}


CHOSEN = """
    [[chosen]]
    module = "sample.paid"
    function = "key"
    old = 'f"budget#{period}"'
    new = "'k'"
    why = "all periods are one"
"""


def test_a_mistake_written_by_hand_is_a_mutant_and_one_that_fits_no_more_is_an_error(
    project: Path,
) -> None:
    write(project, "chosen.toml", CHOSEN)
    assert ids(project, "*:chosen:*") == ["sample.paid:key:chosen:01"]
    assert changes(project, "*:chosen:*") == {"return 'k'"}
    write(project, "chosen.toml", CHOSEN.replace("budget", "gone"))
    assert "any more" in tool(project, "list").stderr


def test_each_value_of_a_key_is_dropped(project: Path) -> None:
    assert changes(project, "*:key:*") == {"return (f'budget#')"}


def test_a_handler_that_swallows_its_effect_s_failure_is_a_mutant(project: Path) -> None:
    assert changes(project, "sample.paid:handler:answer:*") >= {"try:", "except Exception:", "pass"}


def test_neighbours_with_effects_change_places_and_each_is_dropped(project: Path) -> None:
    assert changes(project, "*:effect:*") == {"pass"}
    (swap,) = ids(project, "*:swap:*")
    after = [line[1:].strip() for line in tool(project, "show", swap).stdout.splitlines()]
    assert changes(project, swap) < {"table.tell(one)", "one.close()"}
    assert after.index("table.tell(one)") < len(after) - 1 - after[::-1].index("one.close()")


def test_what_is_excluded_has_no_mutants_and_an_idle_exclusion_ends_the_run(project: Path) -> None:
    assert ids(project, "sample.unpaid:*") == []
    write(project, "project.toml", PROJECT.replace("unpaid", "gone"))
    assert "'sample/gone.py' excludes no module" in tool(project, "list").stderr


def test_a_word_of_our_writes_that_nothing_uses_ends_the_run(project: Path) -> None:
    write(project, "sample/writes.py", WRITES.replace("put_in", "place_in"))
    assert "nothing calls put_in" in tool(project, "list").stderr


def test_an_id_does_not_move_with_the_lines_nor_with_the_formatting(project: Path) -> None:
    before = ids(project)
    moved = "# a line\n\ndef more():\n    return None\n" + dedent(WRITES).replace(
        'update.given("{seen}', 'update.given(\n        "{seen}'
    )
    write(project, "sample/writes.py", moved)
    assert ids(project) == before


def test_a_run_names_what_kills_who_survives_and_how_many_are_equivalent(project: Path) -> None:
    unused = ids(project, "sample.paid:unused:*")
    listed = f"[[equivalent]]\nids = {json.dumps(unused)}\nreason = 'nothing calls it'\n"
    (project / "equivalent.toml").write_text(listed)
    run = tool(project)
    report = json.loads((project / "build" / "mutants.json").read_text())
    killed, mutants = report["killed"], len(ids(project)) - len(unused)
    assert run.stdout.splitlines()[-1] == f"killed {len(killed)} of {mutants}, equivalent 1"
    assert run.returncode == 1
    assert {one["id"].split(":")[0] for one in report["survived"]} == {"sample.writes"}
    assert not any(one["reached"] for one in report["survived"])
    assert any(one.startswith("sample.paid:-:constant:") for one in killed)  # runs at import
    endless = killed[ids(project, "sample.paid:rounded:effect:*")[0]]
    assert endless["why"] == "it did not end"
    assert endless["by"] == "checks/test_paid.py::test_what_is_rounded_is_nine"


def test_a_run_that_kills_enough_is_a_success(project: Path) -> None:
    guard = ids(project, "sample.paid:fits:guard:*")
    run = tool(project, "run", *guard)
    assert run.stdout.splitlines()[-1] == "killed 1 of 1, equivalent 0"
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("entry", "cure"),
    [
        ("ids = ['a:b:c:d']\nreason = 'x'", "there is no such mutant any more"),
        ("ids = []\nreason = ' '", "no reason"),
    ],
)
def test_a_wrong_entry_of_the_reviewed_list_ends_the_run(
    project: Path, entry: str, cure: str
) -> None:
    (project / "equivalent.toml").write_text(f"[[equivalent]]\n{entry}\n")
    ended = tool(project)
    assert ended.returncode
    assert cure in ended.stderr


def test_a_sample_is_its_seed(project: Path) -> None:
    def sampled(seed: str) -> list[str]:
        return tool(project, "list", "--sample", "4", "--seed", seed).stdout.split()

    assert sampled("1") == sampled("1") != sampled("2")
    assert len(set(sampled("1"))) == 4


def test_the_lists_of_this_repository_fit_its_source() -> None:
    """A changed function takes its entries along, or `make mutants` ends before it begins."""
    ours = Project.read(ROOT / "tests" / "mutation" / "project.toml")
    assert len(equivalent.reasons(ours.mutants)) > 20
