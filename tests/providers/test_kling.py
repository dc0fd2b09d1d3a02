"""What only Kling does: two kinds of keys, our own id, a text as the voice."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import httpx
import pytest

from functions import providers
from functions.providers import base, kling
from tests.providers.conftest import CALLBACK, FACE, VOICE, Wire, answer, client, request

JOB = "880000000000000001"
OURS = "job-7f3c-try1"
ACCEPTED = answer(
    200, {"code": 0, "message": "SUCCEED", "data": {"task_id": JOB, "task_status": "submitted"}}
)
SPOKEN = answer(
    200,
    {
        "code": 0,
        "data": {
            "task_id": "77",
            "task_status": "succeed",
            "task_result": {
                "audios": [
                    {"id": "825455158141661278", "url": "https://a.example.test/", "duration": "3"}
                ]
            },
        },
    },
)
NO_SUCH = answer(404, {"code": 1203, "message": "The requested resource does not exist"})
TEXT = {"voice": None, "settings": {"text": "Good morning", "voice_id": "genshin_vindi2"}}


def record(job_id: str, external_id: str) -> dict[str, object]:
    return {
        "task_id": job_id,
        "task_status": "processing",
        "task_info": {"external_task_id": external_id},
    }


def test_an_avatar_is_requested_as_the_documentation_has_it() -> None:
    wire = Wire(ACCEPTED)
    chosen = {"mode": "pro", "watermark_info": {"enabled": False}, "unknown": 1}
    client("kling", wire).submit(request("kling", settings=chosen))
    assert str(wire.requests[0].url) == "https://provider.example.test/v1/videos/avatar/image2video"
    assert wire.posts == [
        {
            "image": FACE,
            "sound_file": VOICE,
            "prompt": "Warm smile",
            "mode": "pro",
            "watermark_info": {"enabled": False},
            "callback_url": CALLBACK,
            "external_task_id": OURS,
        }
    ]


def test_empty_fields_are_left_out() -> None:
    wire = Wire(ACCEPTED)
    client("kling", wire).submit(request("kling", prompt="", callback_url=None))
    assert wire.posts == [
        {"image": FACE, "sound_file": VOICE, "mode": "std", "external_task_id": OURS}
    ]


def test_bytes_are_sent_as_raw_base64_without_a_data_prefix() -> None:
    wire = Wire(ACCEPTED)
    client("kling", wire).submit(
        request("kling", portrait=base.Media("f.png", "image/png", content=b"\x89PNG"))
    )
    assert wire.posts[0]["image"] == base64.b64encode(b"\x89PNG").decode()


def test_the_token_of_an_access_key_is_the_documentation_s() -> None:
    assert kling.token("AK_example", "SK_example", 1789999995, 1790001800) == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJBS19leGFtcGxlIiwiZXhwIjoxNzkwMDAxODAwLCJuYmYiOjE3ODk5OTk5OTV9"
        ".pduD-jwWDESHh38cXRDjb4JunLVIrl6SvmhYgv49x9Q"
    )


def test_an_access_key_signs_a_token_that_clocks_two_minutes_apart_can_agree_on() -> None:
    wire = Wire(ACCEPTED)
    before = int(time.time())
    client("kling", wire, api_key="", access_key="AK", secret_key="SK").submit(request("kling"))
    claims = wire.requests[0].headers["authorization"].removeprefix("Bearer ").split(".")[1]
    signed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert signed["iss"] == "AK"
    assert signed["nbf"] <= before - 59
    assert signed["exp"] >= before + 1800


@pytest.mark.parametrize(
    ("secret", "host"),
    [
        ({}, "api-singapore.klingai.com"),
        ({"region": "singapore"}, "api-singapore.klingai.com"),
        ({"region": "beijing"}, "api-beijing.klingai.com"),
        ({"region": "beijing", "base_url": "https://api.klingai.com"}, "api.klingai.com"),
    ],
)
def test_the_secret_names_the_region_or_the_address(secret: dict[str, str], host: str) -> None:
    wire = Wire(ACCEPTED)
    providers.get("kling")({"api_key": "k", **secret}, wire.client()).submit(request("kling"))
    assert wire.requests[0].url.host == host


def test_a_region_that_is_not_there_blames_the_secret() -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.AccountRejected, match="secret of provider kling"):
        providers.get("kling")({"api_key": "k", "region": "mars"}, wire.client()).submit(
            request("kling")
        )
    assert not wire.requests


def official(wire: Wire) -> kling.Kling:
    found = client("kling", wire)
    assert isinstance(found, kling.Kling)
    return found


def test_a_lost_job_is_found_by_our_own_id() -> None:
    wire = Wire(answer(200, {"code": 0, "data": record(JOB, OURS)}))
    job = official(wire).find(OURS)
    assert (job.job_id, job.external_id) == (JOB, OURS)
    assert wire.requests[0].url.path == f"/v1/videos/avatar/image2video/{OURS}"


def test_a_lost_job_is_found_in_the_list_where_our_id_is_no_path() -> None:
    listed = answer(200, {"code": 0, "data": [record("1", "another"), record(JOB, OURS)]})
    wire = Wire(NO_SUCH, listed)
    assert official(wire).find(OURS).job_id == JOB
    assert dict(wire.requests[1].url.params) == {"pageNum": "1", "pageSize": "500"}


def test_a_job_that_never_was_is_not_found() -> None:
    with pytest.raises(base.JobNotFound):
        official(Wire(NO_SUCH, answer(200, {"code": 0, "data": []}))).find(OURS)


@pytest.mark.parametrize(
    "listed",
    [
        answer(502, text="<html></html>"),
        answer(400, {"code": 1201, "message": "pageSize"}),
        answer(200, {"code": 0, "data": {}}),
    ],
)
def test_a_list_that_was_not_given_proves_nothing(listed: httpx.Response) -> None:
    with pytest.raises(base.Unavailable):
        official(Wire(NO_SUCH, listed)).find(OURS)


def test_a_foreign_job_under_our_id_is_not_ours() -> None:
    with pytest.raises(base.Unavailable, match="another job"):
        official(Wire(answer(200, {"code": 0, "data": record("9", "another")}))).find(OURS)


def test_a_text_is_spoken_first_and_its_audio_id_sent() -> None:
    wire = Wire(SPOKEN, ACCEPTED)
    assert client("kling", wire).submit(request("kling", **TEXT)).job_id == JOB
    assert [one.url.path for one in wire.requests] == [
        "/v1/audio/tts",
        "/v1/videos/avatar/image2video",
    ]
    speech, video = wire.posts
    assert speech == {
        "text": "Good morning",
        "voice_id": "genshin_vindi2",
        "voice_language": "en",
        "voice_speed": 1.0,
    }
    assert video["audio_id"] == "825455158141661278"
    assert "sound_file" not in video


def test_a_chinese_text_is_spoken_in_chinese() -> None:
    wire = Wire(SPOKEN, ACCEPTED)
    client("kling", wire).submit(
        request("kling", voice=None, settings={"text": "早上好", "voice_id": "v"})
    )
    assert wire.posts[0]["voice_language"] == "zh"


def test_speech_that_is_paid_for_is_not_bought_again_when_the_video_must_wait() -> None:
    busy = answer(429, {"code": 1303, "message": "parallel task over resource pack limit"})
    with pytest.raises(base.RejectedLater) as caught:
        client("kling", Wire(SPOKEN, busy)).submit(request("kling", **TEXT))
    assert caught.value.retry_seconds == 30
    again = Wire(ACCEPTED)
    kept = {**TEXT["settings"], **caught.value.bought}  # type: ignore[dict-item]
    client("kling", again).submit(request("kling", voice=None, settings=kept))
    assert [one.url.path for one in again.requests] == ["/v1/videos/avatar/image2video"]
    assert again.posts[0]["audio_id"] == "825455158141661278"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(400, {"code": 1201, "message": "voice_id is invalid"}), base.Rejected),
        (
            answer(429, {"code": 1102, "message": "Account balance not enough"}),
            base.AccountRejected,
        ),
        (answer(504, {"code": 5002, "message": "timeout"}), base.Ambiguous),
        (answer(502, text="<html></html>"), base.Ambiguous),
        (
            answer(
                200, {"code": 0, "data": {"task_status": "failed", "task_status_msg": "bad words"}}
            ),
            base.Rejected,
        ),
        (
            answer(
                200, {"code": 0, "data": {"task_status": "succeed", "task_result": {"audios": []}}}
            ),
            base.Rejected,
        ),
    ],
)
def test_without_speech_no_video_is_requested(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    wire = Wire(reply)
    with pytest.raises(kind):
        client("kling", wire).submit(request("kling", **TEXT))
    assert [one.url.path for one in wire.requests] == ["/v1/audio/tts"]


@pytest.mark.parametrize(
    "changes",
    [
        {"voice": None},
        {"settings": {"audio_id": "8"}},
        {"settings": {"text": "Good morning", "voice_id": "v"}},
        {"voice": None, "settings": {"text": "Good morning"}},
    ],
)
def test_no_voice_or_two_of_them_are_refused_before_anything_is_sent(
    changes: dict[str, object],
) -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.Rejected):
        client("kling", wire).submit(request("kling", **changes))
    assert not wire.requests


SPEAKING = answer(200, {"code": 0, "data": {"task_id": "77", "task_status": "processing"}})


def test_speech_that_is_not_ready_is_waited_for_and_not_bought_again() -> None:
    with pytest.raises(base.RejectedLater) as caught:
        client("kling", Wire(SPEAKING)).submit(request("kling", **TEXT))
    assert caught.value.bought == {"speech_id": "77"}
    assert caught.value.stage == "speech"
    kept = {**TEXT["settings"], "speech_id": "77"}  # type: ignore[dict-item]
    again = Wire(SPEAKING)
    with pytest.raises(base.RejectedLater):
        client("kling", again).submit(request("kling", voice=None, settings=kept))
    ready = Wire(SPOKEN, ACCEPTED)
    client("kling", ready).submit(request("kling", voice=None, settings=kept))
    assert [(one.method, one.url.path) for one in ready.requests] == [
        ("GET", "/v1/audio/tts/77"),
        ("POST", "/v1/videos/avatar/image2video"),
    ]
    assert [one.method for one in again.requests] == ["GET"]


@pytest.mark.parametrize("reply", [NO_SUCH, answer(502, text="<html></html>")])
def test_speech_that_cannot_be_queried_is_queried_later(reply: httpx.Response) -> None:
    kept = {**TEXT["settings"], "speech_id": "77"}  # type: ignore[dict-item]
    with pytest.raises(base.RejectedLater) as caught:
        client("kling", Wire(reply)).submit(request("kling", voice=None, settings=kept))
    assert caught.value.bought == {"speech_id": "77"}


def test_speech_whose_answer_is_lost_says_that_no_video_was_requested() -> None:
    with pytest.raises(base.Ambiguous) as caught:
        client("kling", Wire(answer(502, text="<html></html>"))).submit(request("kling", **TEXT))
    assert caught.value.stage == "speech"


def page(*times: int, ids: str = "j") -> httpx.Response:
    jobs = [
        {"task_id": f"{ids}{at}", "task_status": "processing", "created_at": at * 1000}
        for at in times
    ]
    return answer(200, {"code": 0, "data": jobs})


SINCE = datetime.fromtimestamp(100, UTC)


def test_the_list_is_read_back_to_a_time_page_by_page() -> None:
    wire = Wire(page(300, 250), page(200, 120), page(90, 80), page(70))
    jobs = official(wire).list_jobs(SINCE)
    assert [job.job_id for job in jobs] == ["j300", "j250", "j200", "j120"]
    assert [one.url.params["pageNum"] for one in wire.requests] == ["1", "2", "3"]


def test_a_list_in_another_order_is_read_to_its_end() -> None:
    wire = Wire(page(80, 90), page(70, 300), page(110), page())
    jobs = official(wire).list_jobs(SINCE)
    assert {job.job_id for job in jobs} == {"j300", "j110"}
    assert len(wire.requests) == 4


def test_a_list_without_end_proves_nothing() -> None:
    with pytest.raises(base.Unavailable):
        official(Wire(page(300))).list_jobs(SINCE)


def test_a_lost_job_is_found_on_a_later_page_of_the_list() -> None:
    ours = answer(200, {"code": 0, "data": [{**record(JOB, OURS), "created_at": 150_000}]})
    wire = Wire(page(300), ours, page(90))
    assert official(wire).find_in_list(OURS, SINCE).job_id == JOB
    with pytest.raises(base.JobNotFound):
        official(Wire(page(300), page(90))).find_in_list(OURS, SINCE)


def costs(*packs: dict[str, object], **inner: object) -> httpx.Response:
    data = {"code": 0, "resource_pack_subscribe_infos": list(packs), **inner}
    return answer(200, {"code": 0, "data": data})


@pytest.mark.parametrize(
    "reply",
    [
        costs(),
        costs({"status": "online", "remaining_quantity": 12.5}),
        costs({"status": "runOut"}, {"status": "online"}),
        answer(200, {"code": 0, "data": {"code": 0, "msg": "success"}}),
    ],
)
def test_the_probe_is_the_free_query_for_costs(reply: httpx.Response) -> None:
    wire = Wire(reply)
    client("kling", wire).probe()
    assert [(one.method, one.url.path) for one in wire.requests] == [("GET", "/account/costs")]
    query = wire.requests[0].url.params
    assert int(query["end_time"]) - int(query["start_time"]) == 30 * 86_400_000


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401, {"code": 1002, "message": "Authorization is invalid"}), base.AccountRejected),
        (costs({"status": "runOut", "remaining_quantity": 0}), base.AccountRejected),
        (costs({"status": "online", "remaining_quantity": 0}), base.AccountRejected),
        (costs(code=1001, msg="no"), base.AccountRejected),
        (answer(429, {"code": 1302, "message": "too fast"}), base.Unavailable),
        (answer(200, {"code": 1200, "message": "start_time"}), base.Unavailable),
    ],
)
def test_the_probe_reports_a_bad_key_and_an_account_without_a_pack(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    with pytest.raises(kind):
        client("kling", Wire(reply)).probe()


def test_a_host_without_the_query_for_costs_is_probed_by_its_list() -> None:
    wire = Wire(answer(404, text="<html></html>"), answer(200, {"code": 0, "data": []}))
    client("kling", wire).probe()
    assert [one.url.path for one in wire.requests][-1] == "/v1/videos/avatar/image2video"
