"""What only kie does: its body, its uploads, its credits, its links."""

from __future__ import annotations

from decimal import Decimal

import pytest

from functions.providers import base
from tests.providers.conftest import CALLBACK, FACE, KEY, VOICE, Wire, answer, client, request

ACCEPTED = answer(200, {"code": 200, "msg": "success", "data": {"taskId": "9f2c"}})
UPLOADED = answer(
    200, {"success": True, "code": 200, "data": {"downloadUrl": "https://tempfile.example.test/1"}}
)
BYTES = {
    "portrait": base.Media("face.png", "image/png", content=b"\x89PNG face"),
    "voice": base.Media("voice.mp3", "audio/mpeg", content=b"ID3 voice"),
}


def test_infinitalk_is_requested_as_the_documentation_has_it() -> None:
    wire = Wire(ACCEPTED)
    chosen = {"resolution": "720p", "seed": Decimal(424242), "unknown": 1}
    client("kie", wire).submit(request("kie", settings=chosen))
    assert str(wire.requests[0].url) == "https://provider.example.test/api/v1/jobs/createTask"
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert wire.posts == [
        {
            "model": "infinitalk/from-audio",
            "callBackUrl": CALLBACK,
            "input": {
                "image_url": FACE,
                "audio_url": VOICE,
                "prompt": "Warm smile",
                "resolution": "720p",
                "seed": 424242,
            },
        }
    ]


@pytest.mark.parametrize(
    "model", ["kling/v1-avatar-standard", "kling/ai-avatar-standard", "kling/ai-avatar-pro"]
)
def test_an_avatar_is_requested_with_an_empty_prompt_and_no_callback(model: str) -> None:
    wire = Wire(ACCEPTED)
    client("kie", wire).submit(request("kie", model=model, prompt="", callback_url=None))
    assert wire.posts == [
        {"model": model, "input": {"image_url": FACE, "audio_url": VOICE, "prompt": ""}}
    ]


def test_files_are_uploaded_under_the_attempt_s_own_path_and_their_links_sent() -> None:
    wire = Wire(UPLOADED, UPLOADED, ACCEPTED)
    client("kie", wire, upload_base_url="https://upload.example.test/").submit(
        request("kie", **BYTES)
    )
    face, voice, create = wire.requests
    assert str(face.url) == str(voice.url) == "https://upload.example.test/api/file-stream-upload"
    assert b'name="uploadPath"\r\n\r\ntalkdrop/job-7f3c-try1' in face.content
    assert b'name="fileName"\r\n\r\nface.png' in face.content
    assert b"\x89PNG face" in face.content
    assert b'"image_url":"https://tempfile.example.test/1"' in create.content


def test_kie_may_fetch_a_link_at_once_so_that_it_need_not_outlast_the_queue() -> None:
    media = {
        name: base.Media(f"{name}.bin", "image/png", url=FACE, delivery="upload-url")
        for name in ("portrait", "voice")
    }
    wire = Wire(UPLOADED, UPLOADED, ACCEPTED)
    client("kie", wire).submit(request("kie", **media))
    uploaded = {"fileUrl": FACE, "uploadPath": "talkdrop/job-7f3c-try1", "fileName": "portrait.bin"}
    assert str(wire.requests[0].url).endswith("/api/file-url-upload")
    assert wire.posts[0] == uploaded
    assert wire.posts[-1]["input"]["image_url"] == "https://tempfile.example.test/1"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            answer(
                200,
                {"success": False, "code": 400, "msg": "Missing required parameter: uploadPath"},
            ),
            base.NotSent,
        ),
        (answer(500, text="oops"), base.NotSent),
        (answer(200, {"success": True, "code": 200, "data": {"fileUrl": "x"}}), base.NotSent),
        (answer(401, {"success": False, "code": 401, "msg": "Unauthorized"}), base.AccountRejected),
    ],
)
def test_a_failed_upload_buys_nothing(reply: object, kind: type[base.ProviderError]) -> None:
    wire = Wire(reply)  # type: ignore[arg-type]
    with pytest.raises(base.ProviderError) as caught:
        client("kie", wire).submit(request("kie", **BYTES))
    assert type(caught.value) is kind
    assert all("createTask" not in str(one.url) for one in wire.requests)


def test_a_text_alone_is_refused_before_anything_is_sent() -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.Rejected, match="cannot speak"):
        client("kie", wire).submit(request("kie", voice=None, settings={"text": "hello"}))
    assert not wire.requests


def test_credits_are_given_in_dollars_and_none_left_stops_the_account() -> None:
    credit = answer(200, {"code": 200, "msg": "success", "data": 5916.25})
    assert client("kie", Wire(credit)).balance_usd() == Decimal("29.58125")
    client("kie", Wire(credit)).probe()
    with pytest.raises(base.AccountRejected):
        client("kie", Wire(answer(200, {"code": 200, "data": 0.0}))).probe()
    with pytest.raises(base.AccountRejected):
        client("kie", Wire(answer(200, {"code": 401, "msg": "no"}))).probe()
    with pytest.raises(base.Unavailable):
        client("kie", Wire(answer(200, {"code": 455, "msg": "maintenance"}))).probe()


def test_a_dead_link_is_exchanged_for_one_that_lives_and_a_foreign_one_is_left_alone() -> None:
    fresh = Wire(answer(200, {"code": 200, "data": "https://tempfile.example.test/fresh.mp4"}))
    assert (
        client("kie", fresh)
        .fresh_link("https://tempfile.example.test/old.mp4")
        .endswith("fresh.mp4")
    )
    foreign = Wire(answer(200, {"code": 422, "msg": "url is wrong"}))
    assert (
        client("kie", foreign).fresh_link("https://other.example.test/a.mp4")
        == "https://other.example.test/a.mp4"
    )


def test_maintenance_is_given_time() -> None:
    with pytest.raises(base.RejectedLater) as caught:
        client("kie", Wire(answer(200, {"code": 455, "msg": "maintenance"}))).submit(request("kie"))
    assert caught.value.retry_seconds == 300


def test_an_empty_account_is_reported_in_words_that_help() -> None:
    with pytest.raises(base.AccountRejected) as caught:
        client("kie", Wire(answer(200, {"code": 402, "msg": "Credits insufficient"}))).submit(
            request("kie")
        )
    assert str(caught.value) == (
        'kie answered 402 "Credits insufficient": '
        "top up the account or switch provider (secret of provider kie)"
    )


def test_infinitalk_is_never_sent_an_empty_prompt() -> None:
    wire = Wire(ACCEPTED)
    client("kie", wire).submit(request("kie", prompt="  "))
    assert wire.posts[0]["input"]["prompt"] == "A person speaks to the camera."


def test_an_upload_s_link_with_a_raw_space_is_encoded() -> None:
    link = "https://tempfile.example.test/my face.png"
    uploaded = answer(200, {"code": 200, "data": {"downloadUrl": link}})
    wire = Wire(uploaded, uploaded, ACCEPTED)
    client("kie", wire).submit(request("kie", **BYTES))
    assert b"/my%20face.png" in wire.requests[-1].content
