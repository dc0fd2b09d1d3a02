"""Every documented code of a refused submit: what the caller must do, when, and where to look.
The tables are written a second time here, from docs/providers.md."""

from __future__ import annotations

import pytest

from functions.providers import base
from tests.providers.conftest import Wire, answer, client, request

REFUSES = "Kling refuses this content: change the portrait, the voice or the prompt"
LOOKED_FOR = "a job may have been made; it is looked for by our own id"
KLING = [
    (1000, base.AccountRejected, "check the key"),
    (1001, base.AccountRejected, "check the key"),
    (1002, base.AccountRejected, "check the key"),
    (1003, base.RejectedLater,
     "the clock here is ahead of Kling's; it will be signed and sent again"),
    (1004, base.RejectedLater,
     "the clock here is behind Kling's; it will be signed and sent again"),
    (1099, base.AccountRejected, "check the key"),
    (1100, base.AccountRejected, "account"),
    (1101, base.AccountRejected, "account"),
    (1102, base.AccountRejected, "account"),
    (1103, base.AccountRejected, "the account has no right to this API"),
    (1199, base.AccountRejected, "account"),
    (1200, base.Rejected, "correct the task's settings, or its files"),
    (1299, base.Rejected, "correct the task's settings, or its files"),
    (1300, base.Rejected, REFUSES),
    (1302, base.RejectedLater, "too fast; it will be sent again"),
    (1303, base.RejectedLater, "as many jobs run as the pack allows; it will be sent again"),
    (1304, base.AccountRejected, "this address is not on the account's list of IP addresses"),
    (1399, base.Rejected, REFUSES),
    (1400, base.Ambiguous, LOOKED_FOR),
    (5000, base.Ambiguous, LOOKED_FOR),
    (5001, base.RejectedLater, "Kling is being maintained; it will be sent again"),
    (5002, base.Ambiguous, LOOKED_FOR),
    (999, base.Ambiguous, LOOKED_FOR),
]  # fmt: skip
KIE = [
    (400, base.Rejected, "correct the task's settings"),
    (401, base.AccountRejected, "check the api_key (secret of provider kie)"),
    (402, base.AccountRejected, "top up the account or switch provider (secret of provider kie)"),
    (403, base.AccountRejected,
     "check the key's rights and its IP list at https://kie.ai/api-key"),
    (404, base.Rejected, "the model or the endpoint is not there; check the model's name"),
    (408, base.Ambiguous, "a job may have been made: look at https://kie.ai/logs"),
    (422, base.Rejected,
     "correct the task's settings, or the model's name if it is no longer published"),
    (429, base.RejectedLater, "too many requests; it will be sent again"),
    (433, base.AccountRejected,
     "the key has used up its own cap; raise it at https://kie.ai/api-key"),
    (451, base.Rejected, "kie could not fetch the portrait"),
    (455, base.RejectedLater, "kie is being maintained; it will be sent again"),
    (500, base.Ambiguous, "a job may have been made, or kie could not fetch the portrait or the "
     "voice: look at https://kie.ai/logs"),
    (501, base.Ambiguous, "a job may have been made: look at https://kie.ai/logs"),
    (505, base.Rejected, "kie has switched this model off; choose another"),
    (506, base.Ambiguous, "a job may have been made: look at https://kie.ai/logs"),
]  # fmt: skip


def refused(name: str, status: int, body: object, **headers: str) -> base.ProviderError:
    with pytest.raises(base.ProviderError) as caught:
        client(name, Wire(answer(status, body, **headers))).submit(request(name))
    return caught.value


@pytest.mark.parametrize(("code", "kind", "advice"), KLING)
def test_a_code_of_kling_says_what_to_do(
    code: int, kind: type[base.ProviderError], advice: str
) -> None:
    error = refused("kling", 400, {"code": code, "message": "no"})
    assert type(error) is kind
    assert advice in str(error)


@pytest.mark.parametrize(("code", "kind", "advice"), KIE)
def test_a_code_of_kie_says_what_to_do(
    code: int, kind: type[base.ProviderError], advice: str
) -> None:
    error = refused("kie", 200, {"code": code, "msg": "no", "data": None})
    assert type(error) is kind
    assert str(error).endswith(f": {advice}")


@pytest.mark.parametrize("message", ["duplicated id", "id already exists", "already used",
                                     "is already in use", "must be unique", "not unique",
                                     "\u91cd\u590d", "\u5df2\u5b58\u5728"])  # fmt: skip
def test_a_second_use_of_an_id_is_doubt_in_any_words(message: str) -> None:
    assert type(refused("kling", 400, {"code": 1201, "message": message})) is base.Ambiguous


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (300, base.AccountRejected, "nothing was bought; this is not {}'s API: check base_url"),
        (399, base.AccountRejected, "nothing was bought; this is not {}'s API: check base_url"),
        (404, base.AccountRejected, "nothing was bought; this is not {}'s API: check base_url"),
        (405, base.AccountRejected, "nothing was bought; this is not {}'s API: check base_url"),
        (401, base.AccountRejected, "nothing was bought; check the key, its rights and the acco"),
        (402, base.AccountRejected, "nothing was bought; check the key, its rights and the acco"),
        (403, base.AccountRejected, "nothing was bought; check the key, its rights and the acco"),
        (400, base.Rejected, "correct the task's settings, or its files"),
        (413, base.Rejected, "correct the task's settings, or its files"),
        (414, base.Rejected, "correct the task's settings, or its files"),
        (415, base.Rejected, "correct the task's settings, or its files"),
        (422, base.Rejected, "correct the task's settings, or its files"),
        (429, base.RejectedLater, "too many requests; it will be sent again"),
        (521, base.NotSent, "Cloudflare could not reach {}; it will be sent again"),
        (523, base.NotSent, "Cloudflare could not reach {}; it will be sent again"),
        (525, base.NotSent, "Cloudflare could not reach {}; it will be sent again"),
        (526, base.NotSent, "Cloudflare could not reach {}; it will be sent again"),
        (530, base.NotSent, "Cloudflare could not reach {}; it will be sent again"),
        (408, base.Ambiguous, "a job may have been made: look into the account at {}"),
        (500, base.Ambiguous, "a job may have been made: look into the account at {}"),
        (502, base.Ambiguous, "a job may have been made: look into the account at {}"),
        (520, base.Ambiguous, "a job may have been made: look into the account at {}"),
        (522, base.Ambiguous, "a job may have been made: look into the account at {}"),
        (524, base.Ambiguous, "a job may have been made: look into the account at {}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["kling", "comet", "relay"])
def test_a_bare_status_says_what_to_do(
    name: str, status: int, kind: type[base.ProviderError], advice: str
) -> None:
    error = refused(name, status, ["a proxy's page"])
    assert type(error) is kind
    assert advice.format(name) in str(error)


@pytest.mark.parametrize(
    ("headers", "code", "seconds"),
    [
        ({}, 1303, 30), ({}, 5001, 300), ({"Retry_After": "7"}, 1303, 30),
        ({"Retry_After": "31"}, 1303, 31),
        ({"Retry_After": "3600"}, 5001, 3600), ({"Retry_After": "999999"}, 5001, 3600),
        ({"Retry_After": "soon"}, 5001, 300), ({"Retry_After": "9999999"}, 5001, 300),
        ({"Retry_After": " 8 "}, 1302, 8),
    ],
)  # fmt: skip
def test_a_provider_that_says_when_is_believed_within_an_hour(
    headers: dict[str, str], code: int, seconds: int
) -> None:
    error = refused("kling", 429, {"code": code, "message": "no"}, **headers)
    assert isinstance(error, base.RejectedLater)
    assert error.retry_seconds == seconds
