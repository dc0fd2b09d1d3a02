"""What every test needs before anything of ours is imported: Powertools reads these once, at import."""

from __future__ import annotations

import os

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Talkdrop")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
