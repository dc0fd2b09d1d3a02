"""The API's own requests: a task is opened once, quoted, listed page by page, named and linked
to."""

from __future__ import annotations

import base64
import hashlib
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from functions import providers
from functions.tasks import steps, table
from functions.tasks.task import Status, Task
from tests.faults.account import ARCHIVE, INBOX
from tests.faults.runs import png, wav
from tests.paid.desk import Desk

BODY = {"portrait": "in/face.png", "audio": "in/voice.wav"}
URLS = {"portrait": "https://cdn.example/face.png", "audio": "https://cdn.example/v.wav?sig=x"}
SPOKEN = {"text": "Good day, Ada.", "voice_id": "v"}


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """With a portrait and a voice of three seconds in the inbox."""
    desk.account.buckets.put(INBOX, "in/face.png", png())
    desk.account.buckets.put(INBOX, "in/voice.wav", wav(3))
    return desk


def opens(
    desk: Desk, body: dict[str, Any], key: str = "", **event: Any
) -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json", **({"idempotency-key": key} if key else {})}
    code, answer = desk.api("POST", "/tasks", body, headers=headers, **event)
    return code, dict(answer)


def gets(desk: Desk, path: str, **query: str) -> tuple[int, Any]:
    given = {"queryStringParameters": query or None, "rawQueryString": urlencode(query)}
    return desk.api("GET", path, **given)


def refusal(answer: Any) -> tuple[str, str]:
    (error,) = answer["errors"]
    return error["field"], error["code"]


def tasks(desk: Desk) -> list[str]:
    return [pk[5:] for pk in desk.account.table.items if pk.startswith("task#")]


# Open.


def test_a_task_is_opened_with_all_that_was_sent(shop: Desk) -> None:
    consent = {"who": "Ada", "scope": "all", "until": "2027-12-31", "document_sha256": "a" * 64}
    body = {
        **BODY, "prompt": "Smile.\x07", "model": "infinitalk/from-audio", "max_usd": 7.5,
        "provider": "kie", "long_voice": "split", "settings": {"seed": 11111}, "consent": consent,
    }  # fmt: skip
    code, shown = opens(shop, body)
    task = shop.task(shown["task_id"])
    assert (code, task.status, task.origin, task.stem) == (201, Status.READY, "api", "voice")
    assert (task.provider, task.model, task.prompt) == ("kie", "infinitalk/from-audio", "Smile.")
    assert (task.max_usd, task.long_voice) == (Decimal("7.5"), "split")
    assert (dict(task.settings), dict(task.consent)) == ({"seed": 11111}, consent)
    assert (task.portrait["key"], task.audio["key"]) == ("in/face.png", "in/voice.wav")
    assert (task.portrait["version_id"], task.audio["version_id"]) == ("v000001", "v000002")
    assert (task.quote_usd, task.created_at) == (Decimal("0.045"), table.stamp(table.now()))
    assert (task.imports, task.error, shop.messages("uploads")) == ({}, {}, [])
    assert shop.messages() == [{"task_id": task.task_id, "turn": ""}]
    assert shop.metrics["TaskOpened"] == 1
    assert shown["actions"].keys() == {"cancel"}


def test_where_a_task_was_opened_stands_in_its_answer(shop: Desk) -> None:
    event = {
        "version": "2.0", "rawPath": "/tasks", "rawQueryString": "", "isBase64Encoded": True,
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/tasks"}, "stage": "$default"},
        "body": base64.b64encode(json.dumps(BODY).encode()).decode(),
    }  # fmt: skip
    answer = shop.invoke("api", event)
    assert answer["headers"]["Location"] == f"/tasks/{tasks(shop)[0]}"
    assert answer["headers"]["Content-Type"] == "application/json"


def test_a_text_to_be_spoken_is_opened_without_a_voice(shop: Desk) -> None:
    body = {"portrait": "in/face.png", "provider": "kling", "settings": SPOKEN}
    code, shown = opens(shop, body)
    task = shop.task(shown["task_id"])
    assert (code, task.status, task.audio, task.stem) == (201, Status.READY, {}, "face")
    assert task.quote_usd == Decimal("0.056")


def test_without_a_key_each_request_is_a_task(shop: Desk) -> None:
    assert opens(shop, BODY)[0] == opens(shop, BODY)[0] == 201
    assert len(tasks(shop)) == 2


@pytest.mark.parametrize(("length", "code"), [(1, 201), (255, 201), (256, 400)])
def test_a_key_has_at_most_255_characters(shop: Desk, length: int, code: int) -> None:
    assert opens(shop, BODY, "k" * length)[0] == code


def test_a_key_repeated_answers_the_same_task_and_sends_it_again(shop: Desk) -> None:
    first, again = opens(shop, BODY, "k"), opens(shop, BODY, "k")
    assert (first[0], again[0], again[1]) == (201, 200, first[1])
    assert len(shop.messages()) == 2  # the first may have been lost
    assert shop.metrics["TaskOpened"] == 1
    shop.note(first[1]["task_id"], status="SUBMITTING")
    assert opens(shop, BODY, "k")[0] == 200
    assert len(shop.messages()) == 2


def test_a_key_sent_twice_at_once_is_one_task(shop: Desk) -> None:
    shop.before("PutItem", lambda: opens(shop, BODY, "k"))
    code, shown = opens(shop, BODY, "k")
    assert (code, tasks(shop)) == (200, [shown["task_id"]])
    shop.before("PutItem", lambda: opens(shop, BODY, "other"))
    code, answer = opens(shop, {**BODY, "prompt": "Smile."}, "other")
    assert (code, refusal(answer)) == (422, ("Idempotency-Key", "KEY_REUSED"))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "x"}, {"max_usd": 3}, {"settings": {"seed": 11111}}, {"provider": "kie"},
        {"model": "infinitalk/from-audio"}, {"long_voice": "refuse"}, {"audio": "in/other.wav"},
        {"consent": {"who": "Ada", "scope": "all"}}, {"portrait": "in/voice.wav"},
    ],
)  # fmt: skip
def test_a_key_with_another_body_is_refused(shop: Desk, change: dict[str, Any]) -> None:
    opens(shop, BODY, "k")
    code, answer = opens(shop, {**BODY, **change}, "k")
    assert (code, refusal(answer)) == (422, ("Idempotency-Key", "KEY_REUSED"))
    assert len(tasks(shop)) == 1


def test_a_key_of_an_older_version_s_row_is_still_known(shop: Desk) -> None:
    """Its body was hashed without the fields that came later."""
    _, shown = opens(shop, BODY, "k")
    older: dict[str, Any] = {
        "portrait": "in/face.png", "audio": "in/voice.wav", "prompt": "", "provider": None,
        "model": None, "max_usd": None, "settings": {},
    }  # fmt: skip
    text = json.dumps(older, separators=(",", ":"))
    assert shop.task(shown["task_id"]).request_hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("body", "imports"),
    [
        (URLS, URLS),
        ({**URLS, "portrait": "in/face.png"}, {"audio": URLS["audio"]}),
        ({**URLS, "audio": "in/voice.wav"}, {"portrait": URLS["portrait"]}),
    ],
)
def test_media_by_url_wait_to_be_fetched(
    shop: Desk, body: dict[str, Any], imports: dict[str, str]
) -> None:
    code, shown = opens(shop, body, "k")
    task = shop.task(shown["task_id"])
    assert (code, task.status, dict(task.imports)) == (201, Status.WAITING, imports)
    assert bool(task.portrait) is ("portrait" not in imports)
    assert bool(task.audio) is ("audio" not in imports)
    assert task.stem == ("voice" if "audio" not in imports else "v")
    assert shop.messages("uploads") == [{"import": task.task_id}]
    assert shop.messages() == []
    opens(shop, body, "k")
    assert len(shop.messages("uploads")) == 2
    shop.note(task.task_id, imports={})
    opens(shop, body, "k")
    assert len(shop.messages("uploads")) == 2


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"portrait": "in/nobody.png"}, "portrait", "NOT_FOUND"),
        ({"audio": "in/nobody.wav"}, "audio", "NOT_FOUND"),
        ({"portrait": "in/voice.wav"}, "portrait", "NOT_AN_IMAGE"),
        ({"settings": {"prompt": "x"}}, "settings.prompt", "INVALID"),
        ({"settings": {"consent": {}}}, "settings.consent", "INVALID"),
        ({"settings": {"provider": "kie"}}, "settings.provider", "INVALID"),
        ({"settings": {"max_usd": 3}}, "settings.max_usd", "INVALID"),
        ({"settings": {"long_voice": "split"}}, "settings.long_voice", "INVALID"),
        ({"audio": None}, "audio", "NO_VOICE"),
        ({"audio": "http://a.example/v.wav"}, "audio", "BAD_URL"),
        ({"portrait": "ftp://a.example/v.png"}, "portrait", "BAD_URL"),
        ({**URLS, "settings": {"seeed": 1}}, "settings.seeed", "UNKNOWN_SETTING"),
        ({**URLS, "audio": None}, "audio", "NO_VOICE"),
        ({"max_usd": 0.01}, "max_usd", "TOO_DEAR"),
        ({"max_usd": 100_001}, "max_usd", "BAD_MAX_USD"),
        ({"consent": {"who": "Ada", "scope": "a", "until": "2026-02-28"}}, "consent",
         "CONSENT_ENDED"),
        ({"consent": {"who": " ", "scope": "a"}}, "consent", "BAD_CONSENT"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_and_opens_nothing(
    shop: Desk, change: dict[str, Any], field: str, code: str
) -> None:
    status, answer = opens(shop, {**BODY, **change})
    assert (status, refusal(answer)) == (422, (field, code))
    assert (answer["title"], answer["status"]) == ("Unprocessable Entity", 422)
    assert tasks(shop) == []
    assert shop.messages() == shop.messages("uploads") == []


@pytest.mark.parametrize(
    "body",
    [
        {"portrait": ""}, {"portrait": "a" * 8193}, {"audio": ""}, {"max_usd": 0}, {"prompt": 7},
        {"long_voice": "cut"}, {"colour": "red"}, {"consent": {"who": "", "scope": "a"}},
        {"consent": {"who": "a" * 201, "scope": "a"}}, {"consent": {"who": "a", "scope": ""}},
        {"consent": {"who": "a", "scope": "a" * 501}}, {"consent": {"who": "a"}},
        {"consent": {"who": "a", "scope": "a", "document_sha256": "A" * 64}},
        {"consent": {"who": "a", "scope": "a", "more": 1}},
    ],
)  # fmt: skip
def test_a_body_of_another_shape_is_refused_by_its_field(shop: Desk, body: dict[str, Any]) -> None:
    code, answer = opens(shop, {**BODY, **body})
    (name,) = body
    assert (code, answer["errors"][0]["field"].split(".")[0]) == (422, name)
    assert answer["errors"][0]["code"] == "INVALID"
    assert f"{answer['errors'][0]['field']}: " in answer["detail"]


def test_a_needed_consent_is_demanded_before_anything_is_looked_at(shop: Desk) -> None:
    shop.options(require_consent=True)
    for body in (BODY, URLS):
        code, answer = opens(shop, body)
        assert (code, refusal(answer)) == (422, ("consent", "NO_CONSENT"))
    assert shop.calls("HeadObject") == []
    assert opens(shop, {**BODY, "consent": {"who": "Ada", "scope": "all"}})[0] == 201


def test_five_reasons_stand_in_the_sentence_and_all_in_the_list(shop: Desk) -> None:
    _, answer = opens(shop, {**BODY, **{f"x{number}": 1 for number in range(7)}})
    assert len(answer["errors"]) == 7
    assert answer["detail"].count(";") == 4


def test_a_body_is_utf_8_and_at_most_256_kib(shop: Desk) -> None:
    def sent(raw: bytes, *, encoded: bool = True) -> tuple[int, Any]:
        text = base64.b64encode(raw).decode() if encoded else raw.decode("utf-8", "surrogatepass")
        return shop.api("POST", "/tasks", body=text, isBase64Encoded=encoded)

    body = json.dumps(BODY).encode()
    assert sent(body)[0] == sent(body, encoded=False)[0] == 201
    assert sent(body + b" " * ((256 << 10) - len(body)))[0] == 201
    assert sent(body + b" " * ((256 << 10) - len(body) + 1))[0] == 413
    assert sent(b"\xff")[0] == 400
    assert sent("{\ud800}".encode("utf-8", "surrogatepass"), encoded=False)[0] == 400
    assert shop.api("POST", "/tasks", body="%%%", isBase64Encoded=True)[0] == 400


@pytest.mark.parametrize(
    ("key", "is_looked_up"),
    [
        ("in/" + "a" * 1021, True), ("in/" + "a" * 1022, False), ("in/" + "é" * 510, True),
        ("in/" + "é" * 511, False), ("in/a\x07b", False), ("in/a\x85b", False),
        ("in/\u2028", False), ("in/\u2029", False), ("in/\ufffe", False), ("in/\U0001ffff", False),
        ("in/\ufdd0", False), ("in/\ufdef", False), ("in/\ufdcf\ufdf0", True), ("in/\u200d", True),
        ("in/\u202f é", True),
    ],
)  # fmt: skip
def test_only_what_may_be_a_key_is_looked_up(shop: Desk, key: str, is_looked_up: bool) -> None:
    code, answer = opens(shop, {**BODY, "audio": key})
    assert (code, refusal(answer)) == (422, ("audio", "NOT_FOUND"))
    assert (key in [call["Key"] for call in shop.calls("HeadObject")]) is is_looked_up


# Quotes.


def quotes(desk: Desk, **body: Any) -> tuple[int, Any]:
    return desk.api("POST", "/quote", body)


def test_a_quote_by_files_is_that_of_the_task(shop: Desk) -> None:
    assert quotes(shop, **BODY, settings={"resolution": "720p"}) == (
        200,
        {
            "provider": "kie", "model": "infinitalk/from-audio", "audio_seconds": 3.0,
            "reason": "3.0 s of voice: infinitalk/from-audio, 0.18 USD", "quote_usd": 0.18,
            "pieces": None,
            "usual_seconds": providers.get("kie").models["infinitalk/from-audio"].usual_seconds,
        },
    )  # fmt: skip
    assert tasks(shop) == []


def test_a_quote_needs_no_portrait(shop: Desk) -> None:
    code, found = quotes(shop, audio="in/voice.wav", model="kling/ai-avatar-pro")
    assert (code, found["quote_usd"], found["reason"]) == (200, 0.24, None)


def test_a_quote_of_a_text_has_no_length(shop: Desk) -> None:
    code, found = quotes(shop, portrait="in/face.png", provider="kling", settings=SPOKEN)
    assert (code, found["quote_usd"], found["audio_seconds"]) == (200, 0.056, None)


@pytest.mark.parametrize(
    ("given", "model", "usd"),
    [
        ({"audio_seconds": 15.1}, "infinitalk/from-audio", 0.24),
        ({"audio_seconds": 15.2}, "kling/v1-avatar-standard", 0.64),
        ({"audio_seconds": 301, "long_voice": "refuse"}, "kling/v1-avatar-standard", 12.04),
        ({"audio_seconds": 300.1, "model": "kling/ai-avatar-pro"}, "kling/ai-avatar-pro", 24.08),
        # Named, it takes the voice whole: no limit of it is documented.
        ({"audio_seconds": 301, "model": "kling/v1-avatar-standard"},
         "kling/v1-avatar-standard", 12.04),
        ({"audio_seconds": 10, "settings": {"resolution": "720p"}}, "infinitalk/from-audio", 0.6),
        ({"audio_seconds": 10, "provider": "kling", "settings": {"mode": "pro"}}, "avatar", 1.12),
    ],
)  # fmt: skip
def test_a_quote_by_length_is_the_cheapest_that_takes_so_much(
    shop: Desk, given: dict[str, Any], model: str, usd: float
) -> None:
    code, found = quotes(shop, **given)
    assert (code, found["model"], found["quote_usd"]) == (200, model, pytest.approx(usd))
    assert (found["audio_seconds"], found["reason"]) == (given["audio_seconds"], None)


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"audio_seconds": 3600.2}, "audio_seconds", "AUDIO_TOO_LONG"),
        ({"audio_seconds": 300.2, "model": "kling/ai-avatar-pro", "long_voice": "refuse"},
         "audio_seconds", "AUDIO_TOO_LONG"),
        ({"audio_seconds": 3600.2, "long_voice": "refuse"}, "audio_seconds", "AUDIO_TOO_LONG"),
        ({"audio_seconds": 10, "settings": {"colour": 1}}, "settings.colour", "UNKNOWN_SETTING"),
        ({"audio_seconds": 10, "provider": "kling", "settings": SPOKEN}, "audio", "ONE_VOICE"),
        ({"portrait": "in/face.png"}, "audio", "NO_VOICE"),
        ({"audio": "in/nobody.wav", "audio_seconds": 3}, "audio", "NOT_FOUND"),
        ({"audio": "in/face.png"}, "audio", "NOT_AUDIO"),
        ({**BODY, "max_usd": 0.01}, "max_usd", "TOO_DEAR"),
    ],
)  # fmt: skip
def test_what_would_be_refused_is_no_quote(
    shop: Desk, given: dict[str, Any], field: str, code: str
) -> None:
    status, answer = quotes(shop, **given)
    assert (status, refusal(answer)) == (422, (field, code))


@pytest.mark.parametrize("given", [{"audio": URLS["audio"]}, {**BODY, "portrait": "https://a/b"}])
def test_a_url_is_not_fetched_for_a_quote(shop: Desk, given: dict[str, Any]) -> None:
    status, answer = quotes(shop, **given)
    assert (status, "give audio_seconds instead" in answer["detail"]) == (422, True)


@pytest.mark.parametrize("seconds", [0, -1, 36_001])
def test_a_length_is_within_reason(shop: Desk, seconds: float) -> None:
    assert quotes(shop, audio_seconds=seconds)[0] == 422


def test_a_quote_in_pieces_is_about_what_they_cost_together(shop: Desk) -> None:
    given = {"audio_seconds": 400}
    code, found = quotes(shop, **given)
    assert (code, found["model"]) == (200, "infinitalk/from-audio")
    assert found["quote_usd"] == pytest.approx(408 * 0.015)
    words = "400 s of voice, in about 30 pieces: infinitalk/from-audio, about 6.12 USD"
    assert (found["reason"], found["pieces"]) == (words, 30)
    code, found = quotes(shop, **given, model="kling/ai-avatar-pro")
    assert (code, found["quote_usd"], found["pieces"]) == (200, pytest.approx(408 * 0.08), 2)
    code, found = quotes(shop, audio_seconds=10)
    assert (code, found["reason"], found["quote_usd"]) == (200, None, 0.15)
    assert found["pieces"] is None


# Lists.


def opened(desk: Desk, minute: int, **facts: Any) -> str:
    """A task of that minute; its id."""
    at = f"2026-02-27T09:{minute:02}:00.000Z"
    return desk.row(created_at=at, **facts).task_id


def listed(desk: Desk, **query: str) -> tuple[list[str], str | None]:
    code, page = gets(desk, "/tasks", **query)
    assert code == 200, page
    return [one["task_id"] for one in page["tasks"]], page["cursor"]


def pages(desk: Desk, **query: str) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        ids, more = listed(desk, **query, **({"cursor": cursor} if cursor else {}))
        found.append(ids)
        if not more:
            return found
        cursor = more


@pytest.mark.parametrize("status", ["", "ready"])
def test_tasks_are_listed_newest_first_each_once(desk: Desk, status: str) -> None:
    made = [opened(desk, minute) for minute in range(7)][::-1]
    query = {"status": status} if status else {}
    assert pages(desk, **query) == [made]
    assert pages(desk, **query, limit="7") == [made]
    assert pages(desk, **query, limit="3") == [made[:3], made[3:6], made[6:]]
    assert [one for page in pages(desk, **query, limit="1") for one in page] == made


def test_a_list_has_fifty_on_a_page_and_at_most_two_hundred(desk: Desk) -> None:
    for number in range(203):
        opened(desk, number % 60)
    assert [len(page) for page in pages(desk, limit="200")] == [200, 3]
    assert len(listed(desk)[0]) == 50
    for limit in ("201", "0", "-1", "1e1", "²", "0200", ""):
        code, _ = gets(desk, "/tasks", limit=limit)
        assert code == (200 if limit == "" else 400), limit


def test_tasks_of_one_millisecond_are_each_on_one_page(desk: Desk) -> None:
    made = {opened(desk, 0) for _ in range(6)}
    found = pages(desk, limit="2")
    assert [len(page) for page in found] == [2, 2, 2]
    assert {one for page in found for one in page} == made


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        ({"since": "2026-02-27T09:02:00Z"}, [4, 3, 2]),
        ({"until": "2026-02-27T09:02:00Z"}, [2, 1, 0]),
        ({"since": "2026-02-27T09:01", "until": "2026-02-27T09:02:00.000Z"}, [2, 1]),
        ({"since": "2026-02-27T10:03:00+01:00"}, [4, 3]),
        ({"since": "2026-02-27"}, [4, 3, 2, 1, 0]),
        ({"since": "2026-02-28"}, []),
        ({"until": "2026-02-27"}, [4, 3, 2, 1, 0]),
        ({"until": "2026-02-26"}, []),
        ({"until": "2026-02-27T09:01:59.999999Z"}, [1, 0]),
        ({"status": "READY", "until": "2026-02-27T09:00:00Z"}, [0]),
    ],
)
def test_a_list_may_begin_and_end_at_a_day_or_an_instant(
    desk: Desk, query: dict[str, str], minutes: list[int]
) -> None:
    made = [opened(desk, minute) for minute in range(5)]
    assert listed(desk, **query) == ([made[minute] for minute in minutes], None)


def test_a_list_may_be_of_a_folder_a_provider_words_or_a_status(desk: Desk) -> None:
    one = opened(desk, 1, prompt="She SMILES.", provider="kling")
    two = opened(desk, 2, error={"code": "X", "message": "No Face"}, status=Status.FAILED)
    other = desk.file("on/x.wav", wav(), "audio/wav")
    three = opened(desk, 3, audio=other, stem="x")
    assert listed(desk, prefix="in/")[0] == [two, one]
    assert listed(desk, prefix="on/x")[0] == [three]
    assert listed(desk, prefix="on/xy")[0] == []
    assert listed(desk, provider="kling")[0] == [one]
    assert listed(desk, provider="kie")[0] == [three, two]
    assert listed(desk, q="smiles")[0] == [one]
    assert listed(desk, q="NO FACE")[0] == [two]
    assert listed(desk, q="On/X")[0] == [three]
    assert listed(desk, q=three[-6:])[0] == [three]
    assert listed(desk, q="smiles", prefix="on/")[0] == []
    assert listed(desk, q="face", provider="kling")[0] == []
    assert listed(desk, status="failed")[0] == [two]
    assert listed(desk, status="Ready")[0] == [three, one]


def test_a_piece_of_a_long_voice_is_in_no_list(desk: Desk) -> None:
    whole = opened(desk, 1)
    piece = opened(desk, 2, origin="piece", parent=whole)
    assert (
        listed(desk)[0] == listed(desk, q="hello")[0] == listed(desk, status="READY")[0] == [whole]
    )
    assert gets(desk, f"/tasks/{piece}")[0] == 200


def test_a_filtered_page_looks_at_two_hundred_tasks_and_goes_on(desk: Desk) -> None:
    wanted = opened(desk, 0, prompt="this one")
    for number in range(200):
        opened(desk, 1 + number % 50)
    ids, cursor = listed(desk, q="this one")
    assert (ids, bool(cursor)) == ([], True)
    assert listed(desk, q="this one", cursor=str(cursor)) == ([wanted], None)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"colour": "red"}, "there is no parameter 'colour': use cursor, key, limit, prefix"),
        ({"key": "in/a.mp3", "limit": "3"}, "key stands alone"),
        ({"status": "DONE"}, "there is no status 'DONE': use one of WAITING"),
        ({"limit": "201"}, "limit must be a number from 1 to 200"),
        ({"provider": "klink"}, "there is no provider 'klink': use one of"),
        ({"since": "yesterday"}, "since is 'yesterday': write a day (2026-11-21)"),
        ({"until": "20261121"}, "until is '20261121'"),
        ({"since": "2026-13-01"}, "since is '2026-13-01'"),
        ({"since": "9999-12-31T23:59:59-23:59"}, "since is"),
        ({"cursor": "MjAyNi0xMS0yMQ=="}, "this cursor is not one of ours"),
        ({"cursor": "%%%"}, "this cursor is not one of ours"),
        ({"cursor": "é"}, "this cursor is not one of ours"),
    ],
)
def test_a_list_that_cannot_be_made_says_why(desk: Desk, query: dict[str, str], says: str) -> None:
    code, problem = gets(desk, "/tasks", **query)
    assert (code, problem["detail"][: len(says)]) == (400, says)


def test_what_the_index_shows_and_the_table_has_no_more_is_left_out(desk: Desk) -> None:
    made = [opened(desk, minute) for minute in range(3)]
    desk.before("BatchGetItem", lambda: desk.account.table.forget(f"task#{made[1]}"))
    assert listed(desk) == ([made[2], made[0]], None)


def test_a_row_that_the_table_left_for_another_request_is_read_by_one(desk: Desk) -> None:
    made = [opened(desk, minute) for minute in range(3)]
    calls = 0

    def partly(call: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        whole = desk.account.really("dynamodb", "BatchGetItem", call)
        ((name, wanted),) = call["RequestItems"].items()
        if calls == 1:
            whole["Responses"][name] = whole["Responses"][name][:1]
            whole["UnprocessedKeys"] = {name: {"Keys": wanted["Keys"][1:]}}
        return whole

    desk.instead("BatchGetItem", partly)
    assert listed(desk) == (made[::-1], None)
    assert calls == 2


def test_a_table_that_gives_no_rows_is_an_error_and_no_empty_list(desk: Desk) -> None:
    opened(desk, 0)
    desk.instead(
        "BatchGetItem",
        lambda call: {
            "Responses": {},
            "UnprocessedKeys": {"tasks": {"Keys": call["RequestItems"]["tasks"]["Keys"]}},
        },
    )
    with pytest.raises(RuntimeError, match="1 items of the table could not be read"):
        listed(desk)
    assert len(desk.calls("BatchGetItem")) == 6


# By a name.


def named(digits: str) -> str:
    """A task whose id begins with these digits; its id."""
    task_id, at = digits.ljust(32, "0"), table.stamp(table.now())
    return steps.open_task(Task(task_id, Status.READY, created_at=at, provider="kie")).task_id


def test_a_task_is_named_by_its_first_digits_where_they_are_enough(desk: Desk) -> None:
    one, two = (named(digits) for digits in ("abcd1", "abcd2"))
    assert gets(desk, f"/tasks/{one}")[1]["task_id"] == one
    assert gets(desk, "/tasks/abcd1")[1]["task_id"] == one
    assert gets(desk, f"/tasks/{two[:31]}")[1]["task_id"] == two
    code, problem = gets(desk, "/tasks/abcd")
    assert (code, problem["detail"]) == (409, "more than one task begins with abcd: give more "
                                         "digits")  # fmt: skip
    for name in ("abc", "abce", "f" * 32, "ABCD1", "x"):
        assert gets(desk, f"/tasks/{name}")[0] == 404, name


@pytest.mark.parametrize("key", ["in/a b+c%.wav", "in/é.wav"])
def test_a_task_is_named_by_the_key_of_its_voice(desk: Desk, key: str) -> None:
    desk.account.buckets.put(INBOX, key, wav())
    desk.account.buckets.put(INBOX, "in/portrait.png", png())
    event = {"detail": {"bucket": {"name": INBOX}, "object": {"key": key}}}
    assert desk.message("intake", event) == []
    (task_id,) = tasks(desk)
    assert gets(desk, f"/tasks/{quote(key, safe='')}")[1]["task_id"] == task_id
    assert listed(desk, key=key) == ([task_id], None)
    assert listed(desk, key="in/portrait.png") == ([], None)
    assert listed(desk, key="in/nobody.wav") == ([], None)
    desk.account.buckets.put(INBOX, key, wav())
    assert listed(desk, key=key) == ([], None)  # another upload lies there now


def test_a_text_s_task_is_named_by_its_settings_file(desk: Desk) -> None:
    body = json.dumps({"provider": "kling", **SPOKEN}).encode()
    desk.account.buckets.put(INBOX, "in/a.json", body)
    desk.account.buckets.put(INBOX, "in/a.png", png())
    event = {"detail": {"bucket": {"name": INBOX}, "object": {"key": "in/a.json"}}}
    assert desk.message("intake", event) == []
    assert listed(desk, key="in/a.json") == (tasks(desk), None)


# Links.


def link(desk: Desk, task: Task, what: str) -> tuple[str, str, dict[str, list[str]]]:
    event = {
        "version": "2.0", "rawPath": f"/tasks/{task.task_id}/{what}", "rawQueryString": "",
        "headers": {}, "isBase64Encoded": False,
        "requestContext": {
            "http": {"method": "GET", "path": f"/tasks/{task.task_id}/{what}"}, "stage": "$default"
        },
    }  # fmt: skip
    answer = desk.invoke("api", event)
    assert (answer["statusCode"], answer["headers"]["Cache-Control"]) == (302, "no-store")
    url = urlsplit(answer["headers"]["Location"])
    return url.netloc.split(".")[0], url.path, parse_qs(url.query)


def test_each_file_has_a_short_link_to_its_very_version(desk: Desk) -> None:
    archived = {
        "bucket": ARCHIVE, "key": "videos/x.mp4", "version_id": "v9",
        "manifest_key": "videos/m.json",
    }  # fmt: skip
    task = desk.row(Status.COMPLETED, archived=archived)
    for what, bucket, key, version in (
        ("video", ARCHIVE, "videos/x.mp4", "v9"),
        ("manifest", ARCHIVE, "videos/m.json", None),
        ("portrait", INBOX, task.portrait["key"], task.portrait["version_id"]),
        ("voice", INBOX, task.audio["key"], task.audio["version_id"]),
    ):
        found, path, query = link(desk, task, what)
        assert (found, path) == (bucket, f"/{key}")
        assert query.get("versionId") == (None if version is None else [version])
        assert query["X-Amz-Expires"] == ["900"]


@pytest.mark.parametrize(
    ("shape", "saved"),
    [("link", {}), ("attachment", {"video": "hello-1.mp4", "voice": "hello-1.wav"})],
)
def test_a_page_that_cannot_follow_a_redirect_is_answered_the_link_itself(
    desk: Desk, shape: str, saved: dict[str, str]
) -> None:
    archived = {"bucket": ARCHIVE, "key": "videos/x.mp4", "version_id": "v9"}
    task = desk.row(Status.COMPLETED, archived=archived, stem="hello-1")
    for what, key in (("video", "videos/x.mp4"), ("voice", task.audio["key"])):
        code, found = gets(desk, f"/tasks/{task.task_id}/{what}", **{"as": shape})
        assert (code, found.keys(), found["seconds"]) == (200, {"url", "seconds"}, 900)
        url = urlsplit(found["url"])
        query = parse_qs(url.query)
        assert (url.path, query["X-Amz-Expires"]) == (f"/{key}", ["900"])
        kept = query.get("response-content-disposition", [""])[0]
        assert kept.rpartition("''")[2] == saved.get(what, "")


def test_a_link_of_an_unknown_shape_is_refused_with_those_there_are(desk: Desk) -> None:
    task = desk.row(Status.COMPLETED)
    code, problem = gets(desk, f"/tasks/{task.task_id}/voice", **{"as": "file"})
    assert (code, problem["detail"]) == (400, "as is 'file': use redirect, link, attachment")
    assert gets(desk, f"/tasks/{task.task_id}/voice", **{"as": "redirect"})[0] == 302


@pytest.mark.parametrize("what", ["video", "manifest", "portrait", "voice"])
def test_a_file_that_is_not_there_yet_has_no_link(desk: Desk, what: str) -> None:
    archived = {"bucket": ARCHIVE, "key": "videos/x.mp4", "manifest_key": "videos/m.json"}
    task = desk.row(Status.ARCHIVING, archived=archived, portrait={}, audio={})
    code, problem = gets(desk, f"/tasks/{task.task_id}/{what}")
    begins = f"task {task.task_id[:8]} is ARCHIVING and has no {what}: it "
    assert (code, problem["detail"][: len(begins)]) == (404, begins)


# Uploads.


def uploads(desk: Desk, **body: Any) -> tuple[int, Any]:
    usual = {"name": "01.mp3", "content_type": "audio/mpeg", "bytes": 7}
    return desk.api("POST", "/uploads", {**usual, **body})


def test_an_upload_is_a_form_for_one_file_of_this_type_and_length(desk: Desk) -> None:
    code, form = uploads(desk, folder="ep 1//two/", name="é 01.mp3")
    assert (code, form["key"]) == (201, "_talkdrop/uploads/ep 1/two/é 01.mp3")
    assert form["expires_in_seconds"] == 3600
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    assert ["content-length-range", 1, 7] in policy["conditions"]
    assert {"Content-Type": "audio/mpeg"} in policy["conditions"]
    assert {"key": form["key"]} in policy["conditions"]
    assert INBOX in form["url"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ".."}, "name"), ({"name": "."}, "name"), ({"name": "a/b"}, "name"),
        ({"name": "a\\b"}, "name"), ({"name": "a\x07"}, "name"), ({"folder": "a/../b"}, "folder"),
        ({"folder": "a/./b"}, "folder"), ({"folder": "a\\b"}, "folder"),
        ({"folder": "\u2028"}, "folder"), ({"name": "é" * 255, "folder": "a" * 512}, "name"),
    ],
)  # fmt: skip
def test_a_name_that_would_not_stay_as_it_is_is_refused(
    desk: Desk, body: dict[str, str], field: str
) -> None:
    code, answer = uploads(desk, **body)
    assert (code, refusal(answer)) == (422, (field, "BAD_NAME"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"bytes": 1}, 201), ({"bytes": 0}, 422), ({"bytes": 128 << 20}, 201),
        ({"bytes": (128 << 20) + 1}, 422), ({"name": "a" * 255}, 201), ({"name": "a" * 256}, 422),
        ({"name": ""}, 422), ({"folder": "a" * 512}, 201), ({"folder": "a" * 513}, 422),
        ({"content_type": "text/html"}, 422), ({"content_type": "image/svg+xml"}, 201),
        ({"content_type": "image/" + "a" * 60}, 201), ({"content_type": "image/" + "a" * 61}, 422),
    ],
)  # fmt: skip
def test_an_upload_is_a_picture_or_a_sound_of_bounded_length(
    desk: Desk, body: dict[str, Any], code: int
) -> None:
    assert uploads(desk, **body)[0] == code


# Cancel a folder.


def test_a_folder_is_cancelled_as_far_as_nothing_was_sent(desk: Desk) -> None:
    ready, waiting = desk.row(stem="hello"), desk.row(Status.WAITING, stem="hello-2")
    sent = desk.row(Status.SUBMITTED, stem="hello", intended_at="2026-03-01T09:00:00.000Z")
    doubtful = desk.row(Status.READY, stem="hello", callbacks_received=1)
    other = desk.row(audio=desk.file("on/x.wav", wav(), "audio/wav"), stem="x")
    body = {"prefix": "in/hello", "why": "wrong take"}
    code, answer = desk.api("POST", "/cancel", body)
    assert (code, answer["cursor"]) == (200, None)
    assert set(answer["cancelled"]) == {ready.task_id, waiting.task_id}
    (refused,) = answer["refused"]
    assert refused["task_id"] == doubtful.task_id
    assert "an earlier submit of it is in doubt" in refused["why"]
    assert desk.task(sent.task_id) == sent
    assert desk.task(other.task_id) == other
    after = desk.task(ready.task_id)
    assert after.error["message"] == "cancelled before it was sent: wrong take"
    assert after.history[-1]["who"] == "ada"


def test_a_large_folder_is_cancelled_page_by_page(desk: Desk) -> None:
    for _ in range(203):
        desk.row()
    code, answer = desk.api("POST", "/cancel", {"prefix": "in/"})
    assert (code, len(answer["cancelled"]), bool(answer["cursor"])) == (200, 200, True)
    code, answer = desk.api("POST", "/cancel", {"prefix": "in/", "cursor": answer["cursor"]})
    assert (code, len(answer["cancelled"]), answer["cursor"]) == (200, 3, None)


@pytest.mark.parametrize(
    "body", [{}, {"prefix": ""}, {"prefix": "a", "why": " "}, {"prefix": "a" * 1025}]
)
def test_a_folder_is_named_and_so_is_why(desk: Desk, body: dict[str, str]) -> None:
    assert desk.api("POST", "/cancel", body)[0] == 422
