"""`make audit`: the template and the code against rules that others wrote.

cdk-nag (AwsSolutions, Serverless), cfn-guard (Control Tower), checkov, cfn-lint and bandit, on a
template with every optional part. What they find is open, or it is on the one list below with its
reason. An entry that matches nothing any more is open too.
Exit code 0 only if nothing is open.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements-audit.txt"
CODE = ("app.py", "functions", "infra", "talkdrop")

# Parts of the stack that are off unless asked for; what they add is audited too.
EVERYTHING = {
    "alarm_email": "audit@example.com",
    "notify_email": "audit@example.com",
    "archive_lock_days": 30,
    "page": True,
    "archive_replica_bucket_arn": "arn:aws:s3:::the-replica",
    "lambda_quota": 1000,
}
# By rule, or by rule and the place it may be broken in: why that is right here.
ACKNOWLEDGED = {
    "AwsSolutions-IAM5[Resource::*]": "X-Ray and log delivery know no resource",
    "AwsSolutions-IAM5[Resource::<Inbox>/*]": "every file of the inbox is a customer's drop",
    "AwsSolutions-IAM5[Resource::<Inbox>/_talkdrop/*]": "what intake fetched for API callers",
    "AwsSolutions-IAM5[Resource::<Inbox>/*.error.json]": "the notes beside refused files",
    "AwsSolutions-IAM5[Resource::<Archive>/videos/*]": "the prefix of all videos",
    "AwsSolutions-IAM5[Resource::<Inbox>/_talkdrop/pieces/*]": "the pieces of long voices",
    "AwsSolutions-IAM5[Resource::<Archive>/pieces/*]": "the videos of the pieces",
    "AwsSolutions-IAM5[Resource::<Inbox>/_talkdrop/uploads/*]": "what the API's forms may upload",
    "AwsSolutions-IAM5[Resource::<Archive>/*]": "S3 itself replicates every version",
    "AwsSolutions-IAM5[Resource::arn:aws:s3:::the-replica/*]": "the same, where the copies go",
    "AwsSolutions-IAM5[Resource::<Tasks>/stream/*]": "the stream's name holds its creation time",
    "AwsSolutions-IAM5[Resource::executions]": "executions of the one state machine",
    "AwsSolutions-IAM5[Resource::a task's routes]": "a group may call them for any task",
    "AwsSolutions-IAM4[the CDK's own]": "the function that puts the page's files into its bucket",
    "AwsSolutions-IAM5[the CDK's own]": "the same; of ours it reaches that bucket alone",
    "Serverless-LambdaTracing": "the same; it runs while a deployment does",
    "AwsSolutions-CFR1": "who may sign in decides, not from where",
    "AwsSolutions-CFR2": "static files without a secret; a web firewall costs by the month",
    "AwsSolutions-CFR3": "static files; what a person does is in the API's own log",
    "AwsSolutions-CFR4": "CloudFront's own name comes with CloudFront's own certificate",
    "AwsSolutions-COG8": "a second factor is in every plan; threat protection costs by the person",
    "AwsSolutions-L1": "the runtime is the builder's minor, since its byte code is shipped",
    "Serverless-LambdaLatestVersion": "the same",
    "Serverless-LambdaDLQ": "invoked by queues and a stream, which have dead letters, or in time",
    "Serverless-LambdaEventSourceMappingDestination": "an SQS queue redrives by itself",
    "AwsSolutions-SQS3": "a dead-letter queue needs none",
    "Serverless-EventBusDLQ": "a mail that is lost loses no task; EventBridge tries for a day",
    "Serverless-SNSRedrivePolicy": "mails, which SNS tries again by itself",
    "Serverless-SQSRedrivePolicy": "a dead-letter queue needs none",
    "AwsSolutions-SMG4": "a provider's key is made by the provider; k1 and k2 rotate by hand",
    "AwsSolutions-S1": "an access log holds the signature of every presigned link",
    "AwsSolutions-SF1": "execution data would put task tokens into the log",
    "AwsSolutions-APIG4": "the callback route is proved by the MAC in its URL",
    "api_gw_v2_authorization_type_configured_check": "the callback's MAC in its URL authorizes it",
    "cloudfront_access_logs_enabled_check": "static files; the API's own log has what is done",
    "cloudfront_custom_ssl_certificate_check": "CloudFront's own name, its own certificate",
    "cloudfront_origin_failover_enabled_check": "static files; the command line does without",
    "cloudfront_security_policy_check": "CloudFront's own name, its own certificate",
    "cloudfront_sni_enabled_check": "the same",
    "cloudwatch_log_group_encrypted_check": "AWS's own key encrypts them; they hold no media",
    "cloudwatch_log_group_retention_period_check": "log_days is the customer's: as the backups",
    "dynamodb_table_encrypted_kms_check": "by the customer's key where kms_key_arn names one",
    "lambda_function_public_access_prohibited_check": "for API Gateway, each route by its ARN",
    "lambda_inside_vpc_check": "they call public providers; a VPC would need a NAT gateway for it",
    "s3_bucket_default_encryption_kms_check": "by the customer's key where kms_key_arn names one",
    "s3_bucket_logging_enabled_check": "an access log holds the signature of every presigned link",
    "s3_bucket_object_lock_enabled_check": "the archive's by archive_lock_days; drops expire",
    "s3_event_notifications_enabled_check": "nothing waits for the archive's; the inbox has rules",
    "sqs_dlq_check": "a dead-letter queue needs none",
    "CKV_AWS_18": "an access log holds the signature of every presigned link",
    "CKV_AWS_26": "CloudWatch could not publish to a topic under AWS's own key",
    "CKV_AWS_27": "encrypted by SQS's own key, which the rule does not know",
    "CKV_AWS_68": "static files without a secret; a web firewall costs by the month",
    "CKV_AWS_86": "static files; what a person does is in the API's own log",
    "CKV_AWS_174": "CloudFront's own name comes with CloudFront's own certificate",
    "CKV_AWS_115": "queues bound their functions; callback has its share where the quota allows",
    "CKV_AWS_116": "invoked by queues and a stream, which have dead letters, or in time",
    "CKV_AWS_117": "they call public providers; a VPC would need a NAT gateway for it",
    "CKV_AWS_119": "by the customer's key where kms_key_arn names one, else by AWS's",
    "CKV_AWS_149": "the same",
    "CKV_AWS_158": "logs hold ids and reasons, no media and no keys; AWS's own key encrypts them",
    "CKV_AWS_173": "names and ARNs, no secrets; AWS's own key encrypts them",
    "B101": "assert states what a type checker cannot see",
    "B105 infra/workflow.py": "an expression that names a task token",
    "B106 infra/stack.py": "the name of a key",
    "B311": "spreads retries, hides nothing",
    "B404": "building and deploying start processes",
    "B603": "with arguments of our own, without a shell",
    "B608 infra/operations.py": "CloudWatch's query language, of our own words",
}


def main() -> int:
    _install()
    with tempfile.TemporaryDirectory() as directory:
        found = set(_nag(Path(directory))) | set(_checkov(Path(directory))) | set(_bandit())
    open_ones = sorted(one for one in found if not _acknowledged(one)) + sorted(_lint())
    stale = sorted(key for key in ACKNOWLEDGED if not any(_matches(one, key) for one in found))
    for one in open_ones:
        print(f"open: {one}")
    for key in stale:
        print(f"acknowledged and not found any more: {key}")
    print(f"{len(open_ones) + len(stale)} open, {len(ACKNOWLEDGED)} acknowledged")
    return 1 if open_ones or stale else 0


def _acknowledged(finding: str) -> bool:
    return any(_matches(finding, key) for key in ACKNOWLEDGED)


def _matches(finding: str, key: str) -> bool:
    return finding == key or finding.startswith(f"{key} ")


def _install() -> None:
    """The audit's own packages, apart from .venv; once for each list of them."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = ROOT / "build" / f"audit-{key}"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        command += [str(target), "--require-hashes", "--requirement", str(REQUIREMENTS)]
        subprocess.run(command, check=True)
    sys.path.append(str(target))  # behind .venv's own packages


def _with_the_audits_packages() -> dict[str, str]:
    """The environment of a program that comes from there, and needs its own versions first."""
    return {**os.environ, "PYTHONPATH": sys.path[-1]}


def _nag(directory: Path) -> Iterator[str]:
    """The violations of cdk-nag and cfn-guard: `rule path-of-the-construct`. The template stays in
    the directory."""
    import app  # noqa: I001 - finds Node for the CDK, which must not be imported before
    import aws_cdk as cdk
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks
    from cdklabs.cdk_validator_cfnguard import CfnGuardValidator

    from infra.context import Context
    from infra.stack import Talkdrop

    chosen = json.loads((app.ROOT / "cdk.json").read_text())["context"]
    tree = cdk.App(context=chosen | EVERYTHING, outdir=str(directory), analytics_reporting=False)
    Talkdrop(tree, "Talkdrop", context=Context.of(tree.node))
    rules = (AwsSolutionsChecks(tree), ServerlessChecks(tree), CfnGuardValidator())
    cdk.Validations.of(tree).add_plugins(*rules)
    try:
        tree.synth()
    except RuntimeError as error:
        if "Validation failed" not in str(error):
            raise
    report = json.loads((directory / "validation-report.json").read_text())
    for plugin in report["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                path = construct["constructPath"]
                yield f"{_named(violation['ruleName'], path)} {path}"


def _named(rule: str, path: str) -> str:
    """The rule with the names of our constructs instead of their logical ids."""
    if "CDKBucketDeployment" in path and rule.startswith("AwsSolutions-IAM"):
        return f"{rule.partition('[')[0]}[the CDK's own]"
    head, bracket, resource = rule.partition("[Resource::")
    if not bracket:
        return rule
    if ":execute-api:" in resource:
        return f"{head}[Resource::a task's routes]"
    if ":execution:" in resource:
        return f"{head}[Resource::executions]"
    for name in ("Inbox", "Archive", "Tasks"):
        if resource.startswith(f"<{name}"):
            resource = f"<{name}>{resource.partition('>')[2]}"
    return head + bracket + resource


def _checkov(directory: Path) -> Iterator[str]:
    """checkov's findings: `check-id logical-id`. It is told to download nothing."""
    program = "import sys; from checkov.main import Checkov; sys.exit(Checkov().run())"
    template = str(directory / "Talkdrop.template.json")
    command = [sys.executable, "-c", program, "--file", template, "--framework", "cloudformation"]
    command += ["--skip-download", "--compact", "--quiet", "--output", "json"]
    done = subprocess.run(
        command, env=_with_the_audits_packages(), capture_output=True, text=True, check=False
    )
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError, TypeError):
        yield f"checkov did not run: {done.stderr[-500:]}"
        return
    for one in results["failed_checks"]:
        yield f"{one['check_id']} {one['resource'].rpartition('.')[2]}"


def _lint() -> Iterator[str]:
    """cfn-lint's findings are tests of their own; here they are counted with the others."""
    test = "tests/infra/test_stack.py::test_cloudformations_own_linter_finds_nothing"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    if subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
        yield f"cfn-lint: {test}"


def _bandit() -> Iterator[str]:
    """bandit's findings: `test-id file line`."""
    command = [sys.executable, "-m", "bandit", "-q", "-f", "json", "-r", *CODE]
    done = subprocess.run(
        command, cwd=ROOT, env=_with_the_audits_packages(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    for one in json.loads(done.stdout)["results"]:
        yield f"{one['test_id']} {one['filename'].removeprefix('./')} {one['line_number']}"


if __name__ == "__main__":
    sys.exit(main())
