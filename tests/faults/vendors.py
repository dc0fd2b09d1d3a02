"""The providers, each by its name.

Written from their documentation, not from our clients: kie (no search, its record repeats the
callback URL), Kling (our own id is unique and finds the job), a relay (Kling's words, our id a mere
tag), CometAPI (Kling calls back, by its own id).
"""

from __future__ import annotations

from tests.faults.kie import Kie
from tests.faults.kling import Comet, Kling, Relay
from tests.faults.vendor import Vendor

VENDORS: dict[str, type[Vendor]] = {"kie": Kie, "kling": Kling, "relay": Relay, "comet": Comet}

__all__ = ["VENDORS", "Kling", "Vendor"]
