"""The emulator as we run it: ministack, exactly the version the patches were written against, and
the patches.

    python -m local.aws.emulator

Each patch is one function whose docstring names the gap it closes; `tests/local/test_emulator.py`
shows every gap on the emulator as it comes, so that a patch that is no longer needed fails a test.
"""

from __future__ import annotations

import sys
from importlib import metadata

from local.aws.emulator import events, functions, outages, workflows

VERSION = "1.5.33"

PATCHES = (
    functions.queue_for_a_process,
    functions.repeat_stream_batches_reported_failed,
    functions.keep_no_stream_positions,
    workflows.start_again_is_harmless,
    workflows.new_token_each_attempt,
    workflows.reckon_timeouts,
    workflows.fail_a_waiting_task_with_its_lambda,
    workflows.keep_to_longest_delay,
    workflows.refuse_output_that_is_not_json,
    events.name_the_version,
    events.read_a_range_of_a_version,
    events.invoke_rules_lambda_with_retries,
    events.authorize_batches_as_single_messages,
    events.authorize_task_tokens_by_their_machine,
    outages.fail_during_an_outage,
)


def main() -> None:
    found = metadata.version("ministack")
    if found != VERSION:
        sys.exit(
            f"local/aws/emulator/ patches ministack {VERSION}, and {found} is installed: install "
            "requirements.txt"
        )
    for patch in PATCHES:
        patch()
    from ministack import app

    app.main()


if __name__ == "__main__":
    main()
