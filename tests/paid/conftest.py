"""Every test here has a desk: the handlers in the fault model's account, called by hand."""

from __future__ import annotations

from tests.paid.desk import desk, memory

__all__ = ["desk", "memory"]
