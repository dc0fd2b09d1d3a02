"""What is kept: the inbox, the archive and the task table."""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.context import Context, Never

# What GET /tasks shows of a task. The rest (history, task token, the provider's own link) is left
# out, so that the index holds nothing secret; DynamoDB takes twenty names at most.
LISTED = (
    "task_id", "status", "created_at", "changed_at", "attempt", "origin", "provider", "model", "prompt", "settings",
    "stem", "portrait", "audio", "quote_usd", "charge_usd", "job_id", "submitted_at", "archived", "error",
)  # fmt: skip


def inbox(scope: Construct, context: Context) -> s3.Bucket:
    """Where files are dropped. It tells EventBridge of every new object, without a custom
    resource."""
    bucket = _bucket(
        scope, "Inbox", context, expire_days=context.inbox_expire_days, broken_upload_days=1
    )
    cast(
        s3.CfnBucket, bucket.node.default_child
    ).notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )
    return bucket


def archive(scope: Construct, context: Context) -> s3.Bucket:
    """Where videos stay. It tells nobody of anything, so our own writing can never start us
    again."""
    more: dict[str, Any] = {}
    if context.archive_lock_days != "never":
        more["object_lock_default_retention"] = s3.ObjectLockRetention.governance(
            Duration.days(context.archive_lock_days)
        )
    if context.archive_replica_bucket_arn:
        replica = s3.Bucket.from_bucket_arn(
            scope, "ArchiveReplica", context.archive_replica_bucket_arn
        )
        more["replication_rules"] = [
            s3.ReplicationRule(id="replica", destination=replica)
        ]  # without delete markers
    bucket = _bucket(
        scope, "Archive", context, expire_days=context.archive_expire_days,
        # The slowest source that we bear with (50 KB/s) brings the largest video in some four days,
        # parts compared and all.
        broken_upload_days=7, **more,
    )  # fmt: skip
    if colder := _transitions(context):
        bucket.add_lifecycle_rule(id="colder", transitions=colder)
    return bucket


def _transitions(context: Context) -> list[s3.Transition]:
    classes = {
        s3.StorageClass.INFREQUENT_ACCESS: context.archive_ia_after_days,
        s3.StorageClass.GLACIER_INSTANT_RETRIEVAL: context.archive_cold_after_days,
    }
    return [
        s3.Transition(storage_class=storage_class, transition_after=Duration.days(days))
        for storage_class, days in classes.items()
        if days != "never"
    ]


def _bucket(
    scope: Construct,
    name: str,
    context: Context,
    *,
    expire_days: int | Never,
    broken_upload_days: int,
    **more: Any,
) -> s3.Bucket:
    # No server access log: S3 writes the whole request line into it, and so every presigned URL
    # with its signature.
    bucket = s3.Bucket(
        scope,
        name,
        versioned=True,
        encryption=s3.BucketEncryption.S3_MANAGED,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        removal_policy=_removal(context),
        **more,
    )
    bucket.add_lifecycle_rule(
        id="broken-uploads",
        abort_incomplete_multipart_upload_after=Duration.days(broken_upload_days),
    )
    bucket.add_lifecycle_rule(
        id="old-versions", noncurrent_version_expiration=Duration.days(context.old_versions_days)
    )
    if expire_days != "never":
        bucket.add_lifecycle_rule(id="expiry", expiration=Duration.days(expire_days))
    else:
        bucket.add_lifecycle_rule(id="leftover-delete-markers", expired_object_delete_marker=True)
    return bucket


def table(scope: Construct, context: Context) -> dynamodb.Table:
    """One row a task, and the books beside them. The stream is the outbox of events."""
    made = dynamodb.Table(
        scope,
        "Tasks",
        partition_key=_text("pk"),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        time_to_live_attribute="expires_at",
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=context.keep_data,
        removal_policy=_removal(context),
    )
    made.add_global_secondary_index(
        index_name="by-status",
        partition_key=_text("status_shard"),
        sort_key=_text("created"),
        projection_type=dynamodb.ProjectionType.INCLUDE,
        non_key_attributes=list(LISTED),
    )
    made.add_global_secondary_index(
        index_name="due",
        partition_key=_text("due_shard"),
        sort_key=_text("due_at"),
        # the sweep reads the row itself, strongly, before it acts
        projection_type=dynamodb.ProjectionType.KEYS_ONLY,
    )
    return made


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


def _removal(context: Context) -> RemovalPolicy:
    return RemovalPolicy.RETAIN if context.keep_data else RemovalPolicy.DESTROY
