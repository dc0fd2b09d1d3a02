"""A cloud assembly onto the emulator: assets to S3, the template through CloudFormation, then what
it forgot."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.aws import runtime, synthesis
from local.aws.cloud import ACCOUNT, REGION, Cloud
from local.aws.template import Change, localise

SECONDS = 120
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's own: the same bundle gives the same bytes


class DeployError(Exception):
    """CloudFormation did not create the stack; the message names the resources and the reasons."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs, the physical name of each resource, and what the emulator made
    us change."""

    name: str
    outputs: Mapping[str, str]
    physical: Mapping[str, str]
    changes: tuple[Change, ...]

    def function(self, name: str) -> str:
        """The physical name of the function that runs this handler."""
        begins = f"{name.capitalize()}Function"
        return next(real for logical, real in self.physical.items() if logical.startswith(begins))


def deploy(cloud: Cloud, assembly: Path, options: Mapping[str, Any] | None = None) -> Stack:
    """Deploy the assembly's one stack, unless it stands already; `options` are laid over the
    functions' own."""
    manifest = next(assembly.glob("*.assets.json"))
    name = manifest.name.removesuffix(".assets.json")
    template, changes = localise(
        json.loads((assembly / f"{name}.template.json").read_text()), cloud.url, options
    )
    outputs = _existing(cloud, name)
    if outputs is None:
        _publish_assets(cloud, assembly, json.loads(manifest.read_text()))
        outputs = _create(cloud, name, template)
    physical = _physical_names(cloud, name)
    changes += _apply_what_was_ignored(cloud, template, physical)
    return Stack(name, outputs, physical, tuple(changes))


def _existing(cloud: Cloud, name: str) -> dict[str, str] | None:
    """The outputs of a stack that an earlier run deployed and kept; None if there is none."""
    try:
        found = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError:  # "Stack with id … does not exist"
        return None
    whole = found and found[0]["StackStatus"] == "CREATE_COMPLETE"
    return _outputs(found[0]) if whole else None


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def _publish_assets(cloud: Cloud, assembly: Path, manifest: dict[str, Any]) -> None:
    s3 = cloud.client("s3")
    for asset in manifest["files"].values():
        if asset["source"]["packaging"] != "zip":
            continue  # the template itself: ours is published when it is localised
        body = _bundle(assembly / asset["source"]["path"])
        for destination in asset["destinations"].values():
            bucket = _resolved(destination["bucketName"])
            _ensure_bucket(s3, bucket)
            s3.put_object(Bucket=bucket, Key=_resolved(destination["objectKey"]), Body=body)


def _resolved(name: str) -> str:
    known = {"${AWS::AccountId}": ACCOUNT, "${AWS::Region}": REGION, "${AWS::Partition}": "aws"}
    for placeholder, value in known.items():
        name = name.replace(placeholder, value)
    return name


def _ensure_bucket(s3: Any, bucket: str) -> None:
    if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})


def _bundle(directory: Path) -> bytes:
    """The asset, zipped with the runtime's bootstrap; kept beside the assembly
    for the next run."""
    kept = synthesis.BUILD / f"{directory.name}-{directory.parent.name}.zip"
    if not kept.exists():
        making = kept.with_suffix(f".{os.getpid()}")
        making.write_bytes(_zipped(directory))
        making.rename(kept)
    return kept.read_bytes()


def _zipped(directory: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        boot = zipfile.ZipInfo("bootstrap", EPOCH)
        boot.external_attr = 0o755 << 16
        archive.writestr(boot, runtime.BOOTSTRAP)
        for path in sorted(one for one in directory.rglob("*") if one.is_file()):
            name = zipfile.ZipInfo(str(path.relative_to(directory)), EPOCH)
            archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _create(cloud: Cloud, name: str, template: dict[str, Any]) -> dict[str, str]:
    """Through a template URL, as the CDK does it: a template in the request itself may only be
    small."""
    bucket = _resolved("cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}")
    s3, cloudformation, ssm = (
        cloud.client("s3"),
        cloud.client("cloudformation"),
        cloud.client("ssm"),
    )
    _ensure_bucket(s3, bucket)
    ssm.put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String", Overwrite=True
    )
    key = f"{name}.template.json"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(template).encode())
    url = f"{cloud.url}/{bucket}/{key}"
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.create_stack(StackName=name, TemplateURL=url, Capabilities=capabilities)
    stack = _settled(cloudformation, name)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise DeployError(f"the stack is {stack['StackStatus']}:\n{_reasons(cloudformation, name)}")
    return _outputs(stack)


def _settled(cloudformation: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        time.sleep(0.1)
    raise DeployError(
        f"the stack was not created within {SECONDS} s:\n{_reasons(cloudformation, name)}"
    )


def _reasons(cloudformation: Any, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    bad = [one for one in events if "FAILED" in one["ResourceStatus"]]
    return "\n".join(
        f"  {one['LogicalResourceId']} ({one['ResourceType']}): "
        f"{one.get('ResourceStatusReason', '')}"
        for one in bad
    )


def _physical_names(cloud: Cloud, name: str) -> dict[str, str]:
    pages = (
        cloud.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName=name)
    )
    found = [one for page in pages for one in page["StackResourceSummaries"]]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def _apply_what_was_ignored(
    cloud: Cloud, template: dict[str, Any], physical: Mapping[str, str]
) -> list[Change]:
    """The emulator's CloudFormation silently ignores a time to live, which its DynamoDB knows."""
    changes = []
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table" and (
            ttl := properties.get("TimeToLiveSpecification")
        ):
            cloud.client("dynamodb").update_time_to_live(
                TableName=physical[name], TimeToLiveSpecification=ttl
            )
            changes.append(Change(name, "TimeToLiveSpecification set after the deployment"))
    return changes
