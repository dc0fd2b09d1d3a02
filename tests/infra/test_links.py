"""Presigned links, in every region and partition that botocore knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from functions import links, settings
from functions.settings import ca_bundle

SESSION = boto3.session.Session()
REGIONS = [
    (partition, region)
    for partition in SESSION.get_available_partitions()
    for region in SESSION.get_available_regions("s3", partition)
]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield monkeypatch
    settings.forget()


def test_a_link_names_the_bucket_and_its_region_in_its_host(
    account: pytest.MonkeyPatch,
) -> None:
    """Elsewhere S3 answers with a redirect, or with 400, and a paid request carries the link."""
    assert len(REGIONS) > 30
    for partition, region in REGIONS:
        account.setenv("AWS_DEFAULT_REGION", region)
        settings.forget()
        host = urlsplit(links.presign("talkdrop-inbox", "naïve/a b.mp3", "v1")).hostname
        assert host is not None
        assert host.startswith(f"talkdrop-inbox.s3.{region}."), (partition, host)


@pytest.mark.parametrize(
    ("region", "is_trusted_alone"),
    [
        ("eu-central-1", True),
        ("us-gov-west-1", True),
        ("cn-north-1", False),
        ("us-iso-east-1", False),
        ("eu-isoe-west-1", False),
        ("", False),
    ],
)
def test_amazons_roots_are_used_where_they_sign_every_endpoint(
    account: pytest.MonkeyPatch, region: str, is_trusted_alone: bool
) -> None:
    here = Path(__file__)
    account.setattr(settings, "AMAZON_ROOTS", here)  # a file that exists
    account.setenv("AWS_REGION", region)
    assert ca_bundle() == (str(here) if is_trusted_alone else None)
    account.setenv("AWS_CA_BUNDLE", "/etc/ssl/own.pem")
    assert ca_bundle() == "/etc/ssl/own.pem"
