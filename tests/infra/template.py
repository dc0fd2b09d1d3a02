"""A synthesised template, to be asked about."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Template:
    json: Json
    path: Path

    @property
    def resources(self) -> dict[str, Json]:
        return dict(self.json["Resources"])

    def of_type(self, kind: str) -> dict[str, Json]:
        """Properties of each resource of a type, by the name the stack gave it: `Inbox`,
        `OperationsTaskHeld`."""
        found = {name: one for name, one in self.resources.items() if one["Type"] == kind}
        return {self.title(name): one.get("Properties", {}) for name, one in found.items()}

    def the_only(self, kind: str) -> Json:
        (one,) = self.of_type(kind).values()
        return one

    def resource(self, title: str) -> Json:
        (one,) = [one for name, one in self.resources.items() if self.title(name) == title]
        return one

    def title(self, logical_id: str) -> str:
        """The logical id without the hash at its end."""
        return logical_id[:-8]

    def functions(self) -> dict[str, Json]:
        """Properties of each Lambda, by the module it runs."""
        return {
            one["Handler"].split(".")[2]: one
            for one in self.of_type("AWS::Lambda::Function").values()
        }

    def text(self, value: Any) -> str:
        """A value with every reference replaced by the title of what it refers to."""
        if isinstance(value, str):
            return value
        ((word, content),) = value.items()
        if word == "Ref":
            return str(
                self.title(content)
                if content in self.resources
                else content.replace("AWS::Partition", "aws")
            )
        if word == "Fn::GetAtt":
            return self.title(content[0])
        assert word == "Fn::Join", value
        return str(content[0].join(self.text(part) for part in content[1]))

    def statements(self, role_title: str) -> list[Json]:
        """Every statement of every policy that is on this role."""
        found = []
        for policy in self.of_type("AWS::IAM::Policy").values():
            if role_title in {self.text(role) for role in policy["Roles"]}:
                found += policy["PolicyDocument"]["Statement"]
        return found

    def grants(self, role_title: str) -> dict[str, set[str]]:
        """What the role may do: the actions, by what they may be done on. Items of a table that are
        confined by their key are `Tasks[task#*]`."""
        found: dict[str, set[str]] = defaultdict(set)
        for statement in self.statements(role_title):
            assert statement["Effect"] == "Allow"
            assert not {"NotAction", "NotResource"} & statement.keys()
            for resource in listed(statement["Resource"]):
                on = self.text(resource) + _keys_of(statement.get("Condition"))
                found[on] |= set(listed(statement["Action"]))
        return dict(found)

    def machine(self, name: str = "Workflow") -> Json:
        """Properties of a state machine: `Workflow` of a job, `PiecesWorkflow` of a long voice."""
        return self.of_type("AWS::StepFunctions::StateMachine")[f"{name}Machine"]

    def workflow(self, name: str = "Workflow") -> Json:
        return dict(json.loads(self.machine(name)["DefinitionString"]))


def _keys_of(condition: Any) -> str:
    if condition is None:
        return ""
    ((operator, keys),) = condition.items()
    assert (operator, list(keys)) == ("ForAllValues:StringLike", ["dynamodb:LeadingKeys"])
    return str(keys["dynamodb:LeadingKeys"]).replace("'", "")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
