"""The synthesised template, changed where the emulator cannot take it as it is: pure, JSON in, JSON
and a list out.

Whatever is not changed here is deployed as AWS would get it. A resource type that neither the
emulator nor DROPPED knows makes the deployment fail.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

DROPPED = {"AWS::CDK::Metadata": "nothing to report"}


@dataclass(frozen=True)
class Change:
    """One place where the deployed template differs from the synthesised one, and why."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def summary(changes: Iterable[Change]) -> list[str]:
    """The changes in few lines: those of one kind are counted, or named where they are few."""
    places: dict[str, list[str]] = {}
    for change in changes:
        places.setdefault(change.what, []).append(change.where)
    return [
        f"{what} ({', '.join(where) if len(where) < 3 else len(where)})"
        for what, where in places.items()
    ]


def localise(
    template: Json, endpoint: str, options: Mapping[str, Any] | None = None
) -> tuple[Json, list[Change]]:
    """The template for the emulator at `endpoint`, and what was changed.

    `options` are laid over the functions' own TALKDROP_OPTIONS: the embedded run polls faster than
    a bill would like.
    """
    ours = copy.deepcopy(template)
    changes = [
        *_drop(ours),
        *_run_on_this_machine(ours),
        *_name_secrets_by_arn(ours),
        *_allow_plain_http(ours),
        *_name_for_good(ours),
        *_address_the_api(ours, endpoint),
        *_lay_over_options(ours, options or {}),
    ]
    return ours, changes


def _drop(template: Json) -> list[Change]:
    resources: Json = template["Resources"]
    dropped = {name: reason for name, one in resources.items() if (reason := _why_dropped(one))}
    changes = [
        Change(name, f"{resources[name]['Type']} dropped: {reason}")
        for name, reason in dropped.items()
    ]
    for name in dropped:
        del resources[name]
    _forget_dependencies(template, set(dropped))
    template["Outputs"] = {
        k: v for k, v in template.get("Outputs", {}).items() if not _refers_to(v, dropped)
    }
    return changes


def _why_dropped(resource: Json) -> str | None:
    if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource.get("Properties", {}):
        return "the emulator's alarms know no metric math, and it extracts no metrics from logs"
    return DROPPED.get(resource["Type"])


def _refers_to(value: Any, names: Mapping[str, str]) -> bool:
    text = json.dumps(value)
    return any(f'"{name}"' in text for name in names)


def _run_on_this_machine(template: Json) -> list[Change]:
    """`provided` makes the emulator start our bootstrap, and so AWS's own runtime client under this
    interpreter."""
    changes = []
    for name, function in _of_type(template, "AWS::Lambda::Function"):
        runtime = str(function.get("Runtime", ""))
        if runtime.startswith("python"):
            function["Runtime"] = "provided.al2023"
            changes.append(
                Change(
                    name, f"runtime {runtime} → AWS's runtime client under this machine's Python"
                )
            )
    return changes


def _name_secrets_by_arn(template: Json) -> list[Change]:
    """The emulator's Ref of a secret is its name, AWS's is its ARN, and grants are on ARNs."""
    names = {name for name, _ in _of_type(template, "AWS::SecretsManager::Secret")}
    found: list[Change] = []

    def by_arn(node: Json) -> Json | None:
        if node.get("Ref") not in names:
            return None
        if not any(change.where == node["Ref"] for change in found):
            found.append(Change(node["Ref"], "Ref → its ARN, as AWS's Ref gives it"))
        return {"Fn::GetAtt": [node["Ref"], "Id"]}

    _replace(template, by_arn)
    return found


def _allow_plain_http(template: Json) -> list[Change]:
    """The emulator speaks plain HTTP on the loopback interface; a policy that only refuses that
    goes as a whole."""
    changes = []
    for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for name, policy in _of_type(template, kind):
            statements = policy["PolicyDocument"]["Statement"]
            kept = [
                one
                for one in statements
                if "aws:SecureTransport" not in json.dumps(one.get("Condition", {}))
            ]
            if len(kept) == len(statements):
                continue
            changes.append(Change(name, "statement that refuses plain HTTP left out"))
            policy["PolicyDocument"]["Statement"] = kept
            if not kept:
                del template["Resources"][name]
                _forget_dependencies(template, {name})
    return changes


def _forget_dependencies(template: Json, gone: set[str]) -> None:
    for one in template["Resources"].values():
        wanted = one.pop("DependsOn", [])
        if kept := [
            name for name in ([wanted] if isinstance(wanted, str) else wanted) if name not in gone
        ]:
            one["DependsOn"] = kept


def _name_for_good(template: Json) -> list[Change]:
    """AWS needs names that are unique in the world; here they may be short and the same every
    time."""
    changes = []
    for name, bucket in _of_type(template, "AWS::S3::Bucket"):
        if "BucketName" not in bucket:
            bucket["BucketName"] = f"talkdrop-{_without_hash(name).lower()}"
            changes.append(Change(name, "a bucket's name that is the same every time"))
    for name, api in _of_type(template, "AWS::ApiGatewayV2::Api"):
        api.setdefault("Tags", {})["ms-custom-id"] = "talkdrop"
        changes.append(Change(name, "an API id that is the same every time"))
    return changes


def _without_hash(logical_id: str) -> str:
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def _address_the_api(template: Json, endpoint: str) -> list[Change]:
    """`https://<id>.execute-api.<region>…` is a name on the internet; the emulator serves the API
    by path."""
    apis = {name for name, _ in _of_type(template, "AWS::ApiGatewayV2::Api")}
    found: list[Change] = []

    def by_path(node: Json) -> Json | None:
        api, after = _api_address(node, apis)
        if api is None:
            return None
        if not found:
            found.append(Change(api, "its address → a path of the emulator"))
        return {
            "Fn::Join": ["", [f"{endpoint}/_aws/execute-api/", {"Ref": api}, f"/$default{after}"]]
        }

    _replace(template, by_path)
    return found


def _api_address(node: Json, apis: set[str]) -> tuple[str | None, str]:
    """The API whose address this node is, and the path after it."""
    attribute = node.get("Fn::GetAtt")
    if attribute and attribute[0] in apis and attribute[1] == "ApiEndpoint":
        return attribute[0], ""
    parts = node.get("Fn::Join", ["", []])[1]
    if (
        isinstance(parts, list)
        and len(parts) > 2
        and parts[0] == "https://"
        and ".execute-api." in str(parts[2])
    ):
        path = parts[-1] if isinstance(parts[-1], str) and parts[-1].startswith("/") else ""
        return parts[1]["Ref"], path
    return None, ""


def _lay_over_options(template: Json, options: Mapping[str, Any]) -> list[Change]:
    changes = []
    for name, function in _of_type(template, "AWS::Lambda::Function") if options else []:
        variables = function.get("Environment", {}).get("Variables", {})
        if "TALKDROP_OPTIONS" in variables:
            variables["TALKDROP_OPTIONS"] = json.dumps(
                {**json.loads(variables["TALKDROP_OPTIONS"]), **options}
            )
            changes.append(Change(name, f"options {json.dumps(dict(options))}"))
    return changes


def _of_type(template: Json, kind: str) -> list[tuple[str, Json]]:
    """Name and properties of each resource of a type."""
    found = [(name, one) for name, one in template["Resources"].items() if one["Type"] == kind]
    return [(name, one.setdefault("Properties", {})) for name, one in found]


def _replace(node: Any, replacement: Callable[[Json], Json | None]) -> Any:
    """Walk the tree in place; a node for which `replacement` answers is replaced whole."""
    if isinstance(node, dict):
        for key, value in node.items():
            other = replacement(value) if isinstance(value, dict) else None
            node[key] = other if other is not None else _replace(value, replacement)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            other = replacement(value) if isinstance(value, dict) else None
            node[index] = other if other is not None else _replace(value, replacement)
    return node
