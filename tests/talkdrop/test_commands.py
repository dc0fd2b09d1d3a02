"""The commands that speak the API: submit, watch, list, show, download, quote, models, spend."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.settings import aws
from functions.tasks import books, steps, table
from functions.tasks.task import Status
from talkdrop import Client
from tests.talkdrop.conftest import STACK, Account, Person

SAMPLES = Path("local/samples").resolve()
VIDEO = b"a film"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a portrait and two voices, of which one has a prompt."""
    folder = tmp_path / "episode é"
    folder.mkdir()
    shutil.copy(SAMPLES / "portrait.png", folder / "portrait.png")
    for name in ("01", "02"):
        shutil.copy(SAMPLES / "voice.mp3", folder / f"{name}.mp3")
    (folder / "02.txt").write_text("She smiles.")
    return folder


def listed(person: Person, *words: str) -> list[dict[str, Any]]:
    done = person.types("list", *words, "--json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def completed(account: Account, task_id: str, **facts: Any) -> None:
    bucket = account.outputs["ArchiveBucket"]
    key = f"videos/2026/03/01/{task_id}/film.mp4"
    account.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=VIDEO)
    archived = {"bucket": bucket, "key": key, "sha256": hashlib.sha256(VIDEO).hexdigest(),
                "bytes": len(VIDEO), "seconds": 7, "manifest_key": "videos/none.json"}  # fmt: skip
    account.open(task_id, status=Status.COMPLETED, archived=archived, **facts)


def test_a_directory_becomes_a_task_for_each_voice_after_one_quote(
    account: Account, person: Person, files: Path
) -> None:
    done = person.types("submit", str(files), "--yes")
    assert done.code == 0, done.err
    assert "2 tasks" in done.out
    tasks = {task["stem"]: task for task in listed(person, "episode é/")}
    assert set(tasks) == {"01", "02"}
    assert tasks["02"]["prompt"] == "She smiles."
    assert {task["folder"] for task in tasks.values()} == {"episode é/"}
    assert len(account.submissions()) >= 2


def test_submit_run_again_after_any_interruption_is_one_task_a_voice(
    account: Account, person: Person, files: Path
) -> None:
    """Ctrl-C before each of the client's requests in turn, until one run gets through."""
    folder = "again"
    codes = []
    for number in range(1, 20):
        with Interrupted(number):
            codes.append(person.types("submit", str(files), "--yes", "--folder", folder).code)
        if codes[-1] == 0:
            break
    assert codes[-1] == 0
    assert len(codes) > 5
    assert person.types("submit", str(files), "--yes", "--folder", folder).code == 0
    assert sorted(task["stem"] for task in listed(person, "again/")) == ["01", "02"]


class Interrupted:
    """Ctrl-C at the client's request of this number."""

    def __init__(self, number: int) -> None:
        self.number, self.seen = number, 0

    def __enter__(self) -> None:
        self.sent = httpx.Client.send
        interrupted = self

        def send(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
            interrupted.seen += 1
            if interrupted.seen == interrupted.number:
                raise KeyboardInterrupt
            return interrupted.sent(client, request, **more)

        httpx.Client.send = send  # type: ignore[method-assign, assignment]

    def __exit__(self, *_: object) -> None:
        httpx.Client.send = self.sent  # type: ignore[method-assign]


def test_a_face_and_a_voice_that_are_swapped_are_named_before_anything_is_sent(
    account: Account, person: Person, files: Path
) -> None:
    done = person.types("submit", str(files / "01.mp3"), str(files / "portrait.png"), "--yes")
    assert (done.code, "the face comes first" in done.err) == (1, True)


def test_files_that_no_provider_takes_are_refused_before_anything_is_sent(
    account: Account, person: Person, files: Path
) -> None:
    (files / "02.mp3").write_bytes(b"<html>not found</html>")
    before = len(listed(person))
    done = person.types("submit", str(files), "--yes")
    assert (done.code, "02" in done.err, "not audio" in done.err) == (1, True, True)
    assert len(listed(person)) == before


def test_nothing_is_sent_without_consent_or_above_the_limit(
    account: Account, person: Person, files: Path
) -> None:
    before = len(listed(person))
    assert "--yes" in person.types("submit", str(files)).err
    assert "--max-usd" in person.types("submit", str(files), "--max-usd", "0.01").err
    assert len(listed(person)) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("submit", "nowhere.png", "nobody.mp3", "--yes"), "there is no file"),
        (("submit", "nowhere", "--yes"), "alone makes no task"),
        (("show", "0" * 32), "there is no task"),
        (("download", "no-such-folder/"), "there is no task and no folder"),
        (("list", "--status", "done"), "use one of"),
        (("quote",), "nothing to quote"),
        (("spend", "--by", "moon"), "use one of"),
        (("quote", "--seconds", "5", "--provider", "klink"), "use one of"),
        (("quote", "--seconds", "5", "--set", "resolution"), "NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_cure(
    account: Account, person: Person, words: tuple[str, ...], says: str
) -> None:
    done = person.types(*words)
    assert done.code == 1
    assert says in done.err
    assert "Traceback" not in done.err


def test_wrong_usage_has_an_exit_code_of_its_own(person: Person) -> None:
    assert person.types("submit").code == 2
    assert person.types("dance").code == 2


def test_a_folder_is_downloaded_under_its_own_names_and_checked(
    account: Account, person: Person, tmp_path: Path
) -> None:
    for number, stem in (("1", "01"), ("2", "01"), ("3", "02")):
        audio = {"bucket": "b", "key": f"down/load/{stem}.mp3"}
        at = f"2026-03-01T10:0{number}:00.000Z"
        completed(account, f"9d{number}", stem=stem, audio=audio, created_at=at)
    done = person.types("download", "down/", "--out", str(tmp_path), "--json")
    assert done.code == 0, done.err
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.mp4"))
    assert made == ["down/load/01-9d100000.mp4", "down/load/01.mp4", "down/load/02.mp4"]
    (tmp_path / "down/load/02.mp4").write_bytes(b"half")
    assert person.types("download", "down/", "--out", str(tmp_path)).code == 0
    assert (tmp_path / "down/load/02.mp4").read_bytes() == VIDEO


def test_a_damaged_download_leaves_no_file(
    account: Account, person: Person, tmp_path: Path
) -> None:
    completed(account, "9d9", stem="bad", audio={"bucket": "b", "key": "damaged/bad.mp3"})
    key = "videos/2026/03/01/9d9/film.mp4"
    aws("s3").put_object(Bucket=account.outputs["ArchiveBucket"], Key=key, Body=b"else")
    done = person.types("download", "damaged/", "--out", str(tmp_path))
    assert (done.code, "sha256" in done.err) == (1, True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_lists_fit_80_columns_and_keep_whole_names(account: Account, person: Person) -> None:
    folder = "a-rather-long-folder-name-for-a-podcast/season-three/episode-twelve"
    account.open("9c1", stem="the-first-part", audio={"bucket": "b", "key": f"{folder}/x.mp3"})
    lines = person.types("list", folder).out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = "".join(line[18:].split("  ")[0].strip() for line in lines[1:])
    assert folder.replace("-", "") in text.replace("-", "").replace(" ", "")
    assert "\x1b" not in "".join(lines)


def test_texts_of_others_move_no_cursor(account: Account, person: Person) -> None:
    error = {"code": "X", "message": "bad \x1b[2J [red]file[/red]"}
    account.open("9c2", stem="naughty\x1b[2J", error=error)
    for words in (("list",), ("show", "9c2".ljust(32, "0")), ("watch", "--once")):
        assert "\x1b" not in person.types(*words).out


def test_a_task_is_shown_with_what_may_be_done_and_its_risk(
    account: Account, person: Person
) -> None:
    account.open("9c3", error={"code": "AMBIGUOUS", "message": "the answer was lost"})
    done = person.types("show", "9c30")
    assert done.code == 0
    assert "talkdrop resubmit 9c300000: attempt 1 is held" in done.out


def test_watch_counts_and_says_why_each_one_waits(account: Account, person: Person) -> None:
    audio = {"bucket": "b", "key": "watched/1.mp3"}
    account.open("9c4", status=Status.READY, audio=audio, intended_at="")
    done = person.types("watch", "watched/", "--once")
    assert "1 READY; 0.18 USD" in done.out
    assert "in the queue" in done.out
    assert json.loads(person.types("watch", "watched/", "--json").out)["tasks"] == 1


def test_a_task_that_waits_for_its_turn_says_which_one_it_is(
    account: Account, person: Person
) -> None:
    # A provider of its own, since the account has other tasks that wait.
    for number in range(1, 4):
        audio = {"bucket": "b", "key": f"queued/{number}.mp3"}
        facts = {"provider": "comet", "intended_at": "", "audio": audio, "stem": str(number)}
        task = account.open(f"9b{number}", status=Status.READY, **facts)
        steps.line_up(task, number, "comet runs all the jobs it may", is_news=False)
    assert "9b200000  READY, ~2nd  queued/2" in person.types("list", "queued/").out
    followed = person.types("watch", "queued/", "--once").out
    assert "queued/3: about 3rd in the queue: comet runs all the jobs it may" in followed
    explained = person.types("explain", "9b10").out
    assert "about number 1 of those that wait for a turn at comet" in explained
    assert "the sweep checks it at" not in explained  # what stands there is a place and no time
    assert [task["turn"] for task in listed(person, "queued/")] == [3, 2, 1]


def test_spend_is_summed_by_folder_day_and_provider(account: Account, person: Person) -> None:
    day = "2020-01-02"
    for number, charge in (("5", "0.5"), ("6", "0.25")):
        account.open(
            f"9e{number}", created_at=f"{day}T10:00:00.000Z", status=Status.COMPLETED,
            charge_usd=Decimal(charge), submitted_at=f"{day}T10:00:01.000Z",
            audio={"bucket": "b", "key": f"paid{number}/1.mp3"},
        )  # fmt: skip
    window = ("--since", day, "--until", day, "--json")
    assert json.loads(person.types("spend", *window).out) == [{"day": day, "tasks": 2, "usd": 0.75}]
    by_folder = json.loads(person.types("spend", "--by", "folder", *window).out)
    assert [row["usd"] for row in by_folder] == [0.5, 0.25]


def test_a_long_voice_that_was_cancelled_is_counted_for_the_pieces_that_were_paid(
    account: Account, person: Person
) -> None:
    day = "2020-01-03"
    account.open(
        "9e7", created_at=f"{day}T10:00:00.000Z", status=Status.CANCELLED,
        quote_usd=Decimal("0.5"), pieces={"all": 4, "done": 1, "stopped": 3},
        audio={"bucket": "b", "key": "lectures/1.mp3"},
    )  # fmt: skip
    shown = person.types("spend", "--since", day, "--until", day, "--json").out
    assert json.loads(shown) == [{"day": day, "tasks": 1, "usd": 0.5}]


def test_each_reason_of_a_refusal_stands_on_a_line_of_its_own(
    account: Account, person: Person, files: Path
) -> None:
    for name in ("01", "02"):
        (files / f"{name}.mp3").write_bytes(b"no sound")
    lines = person.types("submit", str(files), "--yes").err.splitlines()
    assert lines[0] == "Refused: nothing was sent:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  episode é/01", "  episode é/02"]


def test_models_and_quotes_are_shown(account: Account, person: Person) -> None:
    assert "default provider: kie" in person.types("models").out
    assert "USD" in person.types("quote", "--seconds", "7.3").out
    assert json.loads(person.types("quote", "--seconds", "7.3", "--json").out)["quote_usd"] > 0


def test_the_client_submits_waits_and_downloads(account: Account, files: Path) -> None:
    with Client.of_stack(STACK) as client:
        task = client.submit(files / "portrait.png", files / "01.mp3", folder="by-python")
        again = client.submit(files / "portrait.png", files / "01.mp3", folder="by-python")
        assert (task["task_id"], task["status"]) == (again["task_id"], "READY")
        with pytest.raises(TimeoutError):
            client.wait(task["task_id"], timeout_seconds=0)
    account.submissions()


def test_a_key_is_merged_into_the_secret_and_never_printed(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-secret-123\n"))
    done = person.types("key", "kie", "--no-probe")
    secret = account.cloud.client("secretsmanager").get_secret_value(
        SecretId=account.outputs["ProviderSecretKie"]
    )
    stored = json.loads(secret["SecretString"])
    assert (done.code, stored["api_key"], stored["base_url"]) == (
        0,
        "sk-secret-123",
        "http://127.0.0.1:9",
    )
    assert "sk-secret" not in done.out + done.err
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-other\n"))
    done = person.types("key", "kie")
    assert (done.code, "Nothing was stored" in done.err) == (1, True)


@pytest.fixture
def _kie_keeps_its_key(account: Account) -> Iterator[None]:
    secrets = account.cloud.client("secretsmanager")
    secret_id = account.outputs["ProviderSecretKie"]
    before = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    yield
    secrets.put_secret_value(SecretId=secret_id, SecretString=before)


@pytest.mark.usefixtures("_kie_keeps_its_key")
@pytest.mark.parametrize(
    ("credits", "words", "says"),
    [
        (1000, (), "kie is open again"),
        (1000, ("--no-probe",), "opens when a free query passes"),
        (10, (), "0.05 USD lie on its account, and the task that was refused is quoted 0.18"),
    ],
)
def test_a_new_key_opens_a_stopped_provider_on_the_terms_of_its_trial(
    account: Account,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
    credits: int,
    words: tuple[str, ...],
    says: str,
) -> None:
    """kie's probe reads the credits that are left."""
    books.stop("kie", "kie answered 401: another key", needs_usd=Decimal("0.18"))
    with kie_that_answers({"code": 200, "msg": "success", "data": credits}) as url:
        typed = json.dumps({"api_key": "sk-new", "base_url": url})
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
        done = person.types("key", "kie", *words)
    assert (done.code, says in done.out) == (0, True), done
    opened = "open again" in says
    assert (books.stopped_since("kie") is None) is opened
    if opened:
        assert (table.read("breaker#kie") or {})["reopened_by"].startswith("arn:aws:")
    books.reopen("kie")


def test_a_key_that_the_provider_refuses_opens_nothing(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.stop("kie", "kie answered 401: another key")
    with kie_that_answers({"code": 401, "msg": "Unauthorized"}) as url:
        typed = json.dumps({"api_key": "sk-wrong", "base_url": url})
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
        done = person.types("key", "kie")
    assert (done.code, "Nothing was stored" in done.err) == (1, True)
    assert books.stopped_since("kie") == "kie answered 401: another key"
    books.reopen("kie")


def test_a_provider_without_a_secret_in_this_stack_is_named_with_the_cure(
    account: Account, person: Person
) -> None:
    done = person.types("key", "kling")
    assert (done.code, "name it in providers in cdk.json" in done.err) == (1, True)


def test_dead_letters_are_sent_again_before_they_are_deleted(
    account: Account, person: Person
) -> None:
    sqs = account.cloud.client("sqs")
    sqs.send_message(QueueUrl=account.outputs["UploadsDeadLetterQueueUrl"], MessageBody='{"a": 1}')
    assert "1 to send" in person.types("redrive", "--dry-run").out
    assert "1 sent" in person.types("redrive").out
    got = sqs.receive_message(QueueUrl=account.outputs["UploadsQueueUrl"])["Messages"]
    assert json.loads(got[0]["Body"]) == {"a": 1}


def test_doctor_names_what_is_bad_and_its_cure(account: Account, person: Person) -> None:
    account.open("9f2", error={"code": "AMBIGUOUS", "message": "lost"})
    done = person.types("doctor")
    assert done.code == 1
    assert "talkdrop list --status held" in done.out


def checks(person: Person, *words: str) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(person.types("doctor", "--json", *words).out)
    return {one["name"]: one for one in found}


def test_doctor_asks_the_provider_whether_its_key_works_and_says_what_it_answers(
    account: Account, person: Person
) -> None:
    secrets = account.cloud.client("secretsmanager")
    secret_id = account.outputs["ProviderSecretKie"]
    before = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"api_key": ""}))
    assert checks(person)["key of kie"]["detail"] == "none: talkdrop key kie"
    with kie_that_answers({"code": 200, "msg": "success", "data": 100}) as url:
        key = {"api_key": "sk-doctor", "base_url": url}
        secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(key))
        assert checks(person)["key of kie"] == {
            "name": "key of kie", "ok": True, "detail": "works",
        }  # fmt: skip
    with kie_that_answers({"code": 401, "msg": "Unauthorized"}) as url:
        key = {"api_key": "sk-doctor", "base_url": url}
        secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(key))
        refused = checks(person)["key of kie"]
        assert (refused["ok"], "401" in refused["detail"]) == (False, True)
        assert "sk-doctor" not in json.dumps(refused)
        assert checks(person, "--no-probe")["key of kie"]["detail"] == "there"
    secrets.put_secret_value(SecretId=secret_id, SecretString=before)


@contextmanager
def kie_that_answers(body: dict[str, Any]) -> Iterator[str]:
    class Kie(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Kie)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_doctor_says_that_nobody_confirmed_the_alarms(account: Account, person: Person) -> None:
    sns = account.cloud.client("sns")
    arn = account.outputs["AlarmTopic"]
    assert "alarms by mail" not in checks(person)  # the embedded run sends none
    sns.subscribe(TopicArn=arn, Protocol="email", Endpoint="a@example.com")
    found = checks(person)["alarms by mail"]
    waits = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"][0]["SubscriptionArn"]
    assert found["ok"] is waits.startswith("arn:")
    if not found["ok"]:
        assert "alarm_email in cdk.json" in found["detail"]


def test_env_sets_both_region_variables_for_every_tool(account: Account, person: Person) -> None:
    out = person.types("env").out
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "TALKDROP_API"):
        assert f"export {name}=" in out


def test_a_task_and_a_folder_are_cancelled_and_what_is_sent_is_not(
    account: Account, person: Person
) -> None:
    for number, status in (("1", Status.READY), ("2", Status.READY), ("3", Status.SUBMITTED)):
        audio = {"bucket": "b", "key": f"unwanted/{number}.mp3"}
        account.open(f"9a{number}", status=status, audio=audio, intended_at="")
    assert person.types("cancel", "9a10").code == 0
    assert person.types("cancel", "9a30").code == 1
    done = person.types("cancel", "unwanted/", "--json")
    assert (done.code, len(json.loads(done.out)["cancelled"])) == (0, 1)
    states = {task["task_id"][:3]: task["status"] for task in listed(person, "unwanted/")}
    assert states == {"9a1": "CANCELLED", "9a2": "CANCELLED", "9a3": "SUBMITTED"}


def test_an_example_in_the_help_stays_a_line_of_its_own(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command, example in (
        ("submit", "talkdrop submit episodes/ --max-usd 5 --yes"),
        ("quote", "talkdrop quote --seconds 90 --provider kling"),
        ("cancel", "talkdrop cancel episodes/"),
    ):
        lines = person.types(command, "--help").out.splitlines()
        assert example in [line.strip() for line in lines]
