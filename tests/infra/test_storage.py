"""What is kept, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.inputs import drops
from functions.tasks import queries
from functions.tasks.task import Task
from infra import grants
from tests.infra.conftest import synthesise, template_in
from tests.infra.template import Json, Template

BUCKETS = ("Inbox", "Archive")


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_private_encrypted_versioned_and_spoken_to_by_modern_tls_only(
    template: Template, name: str
) -> None:
    bucket = template.of_type("AWS::S3::Bucket")[name]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "ServerSideEncryptionByDefault" in str(bucket["BucketEncryption"])
    denied = template.of_type("AWS::S3::BucketPolicy")[f"{name}Policy"]["PolicyDocument"][
        "Statement"
    ]
    conditions = [statement["Condition"] for statement in denied if statement["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in conditions


def test_no_bucket_logs_requests_since_a_request_line_holds_the_signature_of_a_presigned_url(
    template: Template,
) -> None:
    assert not [
        one for one in template.of_type("AWS::S3::Bucket").values() if "LoggingConfiguration" in one
    ]


def test_an_inbox_expires_and_an_archive_grows_cold_and_neither_keeps_broken_uploads(
    template: Template,
) -> None:
    inbox, archive = lifecycle(template, "Inbox"), lifecycle(template, "Archive")
    for rules, days in ((inbox, 1), (archive, 7)):
        assert rules["broken-uploads"]["AbortIncompleteMultipartUpload"] == {
            "DaysAfterInitiation": days
        }
        assert rules["old-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert inbox["expiry"]["ExpirationInDays"] == 30
    assert archive["colder"]["Transitions"] == [
        {"StorageClass": "GLACIER_IR", "TransitionInDays": 90}
    ]
    assert "expiry" not in archive


def test_the_pieces_of_a_long_voice_expire_once_they_are_joined_and_never_before(
    template: Template,
) -> None:
    rule = lifecycle(template, "Archive")["joined-pieces"]
    assert rule["Prefix"] == "pieces/"
    assert rule["TagFilters"] == [{"Key": "joined", "Value": "true"}]
    assert rule["ExpirationInDays"] == 30


def test_copies_for_a_voice_that_is_never_joined_expire(template: Template) -> None:
    rule = lifecycle(template, "Archive")["reused-pieces"]
    assert rule["Prefix"] == "pieces/"
    assert rule["TagFilters"] == [{"Key": "reused", "Value": "true"}]
    assert rule["ExpirationInDays"] == 60


def test_expiry_and_coldness_are_the_customers_choice(for_trying: Template) -> None:
    inbox, archive = lifecycle(for_trying, "Inbox"), lifecycle(for_trying, "Archive")
    assert inbox["expiry"]["ExpirationInDays"] == 10
    assert archive["expiry"]["ExpirationInDays"] == 40
    assert archive["colder"]["Transitions"][0]["TransitionInDays"] == 20


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """An archive with everything that may be added to it."""
    return template_in(
        tmp_path_factory.mktemp("guarded"),
        archive_ia_after_days="40",
        archive_cold_after_days=100,
        archive_lock_days=365,
        archive_replica_bucket_arn="arn:aws:s3:::our-videos-in-another-region",
    )


def test_an_archive_may_grow_cold_by_degrees(guarded: Template) -> None:
    assert lifecycle(guarded, "Archive")["colder"]["Transitions"] == [
        {"StorageClass": "STANDARD_IA", "TransitionInDays": 40},
        {"StorageClass": "GLACIER_IR", "TransitionInDays": 100},
    ]


def test_an_archive_may_be_locked_and_is_not_unasked(template: Template, guarded: Template) -> None:
    archive = guarded.of_type("AWS::S3::Bucket")["Archive"]
    assert archive["ObjectLockEnabled"] is True
    assert archive["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Days": 365, "Mode": "GOVERNANCE"}},
    }
    for bucket in (
        *template.of_type("AWS::S3::Bucket").values(),
        guarded.of_type("AWS::S3::Bucket")["Inbox"],
    ):
        assert (
            not {"ObjectLockEnabled", "ObjectLockConfiguration", "ReplicationConfiguration"}
            & bucket.keys()
        )


def test_a_replica_gets_every_video_and_no_deletion(guarded: Template) -> None:
    replication = guarded.of_type("AWS::S3::Bucket")["Archive"]["ReplicationConfiguration"]
    (rule,) = replication["Rules"]
    assert rule["Destination"]["Bucket"] == "arn:aws:s3:::our-videos-in-another-region"
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
    assert (rule["Status"], rule["Filter"]) == ("Enabled", {"Prefix": ""})
    role = guarded.text(replication["Role"])
    may = guarded.grants(role)
    assert "s3:GetObjectVersionForReplication" in may["Archive/*"]
    assert "s3:ReplicateObject" in may["arn:aws:s3:::our-videos-in-another-region/*"]
    # of a locked archive: its versions come with their retention
    assert may["Archive/*"] >= {"s3:GetObjectRetention", "s3:GetObjectLegalHold"}
    assert set(may) == {"Archive", "Archive/*", "arn:aws:s3:::our-videos-in-another-region/*"}
    assert "RoleName" not in guarded.of_type("AWS::IAM::Role")[role]
    alarm = guarded.of_type("AWS::CloudWatch::Alarm")["OperationsReplicationFailed"]
    assert alarm["MetricName"] == "OperationsFailedReplication"
    assert rule["Destination"]["Metrics"]["Status"] == "Enabled"


KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def test_a_key_of_the_customers_encrypts_buckets_table_and_secrets_and_every_function_may_use_it(
    tmp_path: Path,
) -> None:
    made = template_in(tmp_path, kms_key_arn=KEY)
    for bucket in made.of_type("AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == KEY
        assert rule["BucketKeyEnabled"] is True
    assert made.the_only("AWS::DynamoDB::Table")["SSESpecification"]["KMSMasterKeyId"] == KEY
    secrets = made.of_type("AWS::SecretsManager::Secret").values()
    assert {one["KmsKeyId"] for one in secrets} == {KEY}
    for name in made.functions():
        assert "kms:Decrypt" in made.grants(f"{name.capitalize()}Role")[KEY]


@pytest.mark.parametrize(
    "context",
    [
        {"archive_ia_after_days": 29},
        {"archive_ia_after_days": 61, "archive_cold_after_days": 90},
        {"archive_lock_days": 0},
        {"archive_replica_bucket_arn": "our-videos"},
    ],
)
def test_what_s3_would_refuse_is_refused_before(tmp_path: Path, context: dict[str, object]) -> None:
    done = synthesise(tmp_path, **context)
    assert done.returncode != 0
    assert "archive_" in done.stderr


def test_only_the_inbox_tells_of_new_objects_so_nothing_we_archive_can_start_us(
    template: Template,
) -> None:
    buckets = template.of_type("AWS::S3::Bucket")
    assert buckets["Inbox"]["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
    assert "NotificationConfiguration" not in buckets["Archive"]


def test_the_table_can_be_brought_back_and_is_not_deleted_by_mistake(template: Template) -> None:
    table = template.the_only("AWS::DynamoDB::Table")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_indexes_hold_what_is_listed_and_nothing_that_grants_access(template: Template) -> None:
    indexes = {
        one["IndexName"]: one
        for one in template.the_only("AWS::DynamoDB::Table")["GlobalSecondaryIndexes"]
    }
    assert keys(indexes["by-status"]) == ["status_shard", "created"]
    assert keys(indexes["by-created"]) == ["list_shard", "created"]
    assert keys(indexes["by-id"]) == ["id_shard", "pk"]
    assert keys(indexes["due"]) == ["due_shard", "due_at"]
    assert indexes["due"]["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    projected = set(indexes["by-status"]["Projection"]["NonKeyAttributes"])
    assert projected == set(queries.LISTED) <= set(Task.__dataclass_fields__)
    assert not projected & {"task_token", "video_url", "history", "owner"}


@pytest.mark.parametrize("name", [*BUCKETS, "Tasks", "KieKey", "CallbackKey"])
def test_data_outlives_the_stack_unless_a_stage_for_trying_says_otherwise(
    template: Template, for_trying: Template, name: str
) -> None:
    kept = template.resource(name)
    # what a first deployment that failed leaves behind would be in the way of the next
    assert kept["DeletionPolicy"] == "RetainExceptOnCreate"
    assert kept["UpdateReplacePolicy"] == "Retain"
    assert for_trying.resource(name)["DeletionPolicy"] == "Delete"
    assert for_trying.the_only("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is False


def test_what_intake_writes_itself_is_named_as_the_functions_name_it() -> None:
    assert drops.OURS == grants.OWN_IMPORTS


def lifecycle(template: Template, bucket: str) -> dict[str, Json]:
    rules = template.of_type("AWS::S3::Bucket")[bucket]["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    return {rule["Id"]: rule for rule in rules}


def keys(index: Json) -> list[str]:
    return [key["AttributeName"] for key in index["KeySchema"]]
