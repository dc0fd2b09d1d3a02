"""What is kept: the inbox, the archive and the task table."""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from functions.tasks.queries import LISTED
from infra.context import Context, Never

Encryption = dynamodb.TableEncryption

_UNJOINED_COPIES_DAYS = 60


def inbox(scope: Construct, context: Context, key: kms.IKey | None) -> s3.Bucket:
    """Where files are dropped. EventBridge gets an event for every new object, without a
    custom resource."""
    bucket = _bucket(
        scope, "Inbox", context, key, expire_days=context.inbox_expire_days, broken_upload_days=1
    )
    cast(
        s3.CfnBucket, bucket.node.default_child
    ).notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )
    return bucket


def archive(scope: Construct, context: Context, key: kms.IKey | None) -> s3.Bucket:
    """Where videos stay. It sends no notifications, so our own writing can never start us
    again."""
    more: dict[str, Any] = {}
    if context.archive_lock_days != "never":
        more["object_lock_default_retention"] = s3.ObjectLockRetention.governance(
            Duration.days(context.archive_lock_days)
        )
    if context.archive_replica_bucket_arn:
        more |= _replication(scope, context.archive_replica_bucket_arn)
    bucket = _bucket(
        scope,
        "Archive",
        context,
        key,
        expire_days=context.archive_expire_days,
        # The slowest source that is accepted (50 KB/s) brings the largest video in some four days,
        # parts compared and all.
        broken_upload_days=7,
        **more,
    )
    if context.archive_replica_bucket_arn:
        _may_replicate(more["replication_role"], bucket, context.archive_replica_bucket_arn)
    # A piece is kept until the join is proved, however long that takes; then it is tagged. Until it
    # expires, another voice may use it again.
    kept_days = context.parsed_options.keep_pieces_days
    # A copy for a voice that is never joined would stay for ever; the inbox, too, keeps its voice
    # no longer.
    copies_days = max(kept_days, _UNJOINED_COPIES_DAYS)
    for name, tag, days in (
        ("joined-pieces", "joined", kept_days),
        ("reused-pieces", "reused", copies_days),
    ):
        bucket.add_lifecycle_rule(
            id=name,
            prefix="pieces/",
            tag_filters={tag: "true"},
            expiration=Duration.days(days),
        )
    if colder := _transitions(context):
        bucket.add_lifecycle_rule(id="colder", transitions=colder)
    return bucket


def _replication(scope: Construct, replica_arn: str) -> dict[str, Any]:
    """A copy of every video without delete markers, and a metric of what could not be copied."""
    rule = s3.ReplicationRule(
        id="replica",
        destination=s3.Bucket.from_bucket_arn(scope, "ArchiveReplica", replica_arn),
        metrics=s3.ReplicationTimeValue.FIFTEEN_MINUTES,
    )
    # A role of our own: the CDK's has one fixed name an account.
    service = iam.ServicePrincipal("s3.amazonaws.com")
    role = iam.Role(scope, "ReplicationRole", assumed_by=service)
    return {"replication_rules": [rule], "replication_role": role}


def _may_replicate(role: iam.IRole, bucket: s3.Bucket, replica_arn: str) -> None:
    """What S3 asks of the role; locked objects need the last two of the first line. The replica
    must have Object Lock then, too.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html
    """
    versions = [f"s3:GetObjectVersion{what}" for what in ("ForReplication", "Acl", "Tagging")] + [
        "s3:GetObjectRetention",
        "s3:GetObjectLegalHold",
    ]
    copies = ["s3:ReplicateObject", "s3:ReplicateTags", "s3:ReplicateDelete"]
    for actions, on in (
        (["s3:GetReplicationConfiguration", "s3:ListBucket"], bucket.bucket_arn),
        (versions, bucket.arn_for_objects("*")),
        (copies, f"{replica_arn}/*"),
    ):
        statement = iam.PolicyStatement(actions=actions, resources=[on])
        role.add_to_principal_policy(statement)


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
    key: kms.IKey | None,
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
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=True if key else None,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        removal_policy=removal(context),
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


def table(scope: Construct, context: Context, key: kms.IKey | None) -> dynamodb.Table:
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
        encryption=Encryption.CUSTOMER_MANAGED if key else Encryption.DEFAULT,
        encryption_key=key,
        deletion_protection=context.keep_data,
        removal_policy=removal(context),
    )
    made.add_global_secondary_index(
        index_name="by-status",
        partition_key=_text("status_shard"),
        sort_key=_text("created"),
        projection_type=dynamodb.ProjectionType.INCLUDE,
        non_key_attributes=list(LISTED),
    )
    # Lists of all tasks, and ids by their first digits: written once a task, keys alone.
    made.add_global_secondary_index(
        index_name="by-created",
        partition_key=_text("list_shard"),
        sort_key=_text("created"),
        projection_type=dynamodb.ProjectionType.KEYS_ONLY,
    )
    made.add_global_secondary_index(
        index_name="by-id",
        partition_key=_text("id_shard"),
        sort_key=_text("pk"),
        projection_type=dynamodb.ProjectionType.KEYS_ONLY,
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


def customer_key(scope: Construct, context: Context) -> kms.IKey | None:
    """The customer's own key for buckets, table and secrets, where the context names one."""
    if not context.kms_key_arn:
        return None
    return kms.Key.from_key_arn(scope, "CustomerKey", context.kms_key_arn)


def removal(context: Context) -> RemovalPolicy:
    """Kept, but for what a first deployment that failed leaves behind: it would only be in the way
    of the next."""
    keep = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    return keep if context.keep_data else RemovalPolicy.DESTROY
