"""The providers, found by file name and loaded on first use: a Lambda imports only the one it talks
to.

`kie.py` holds the class `Kie`, `some_vendor.py` the class `SomeVendor`.
"""

from __future__ import annotations

import importlib
import pkgutil

from functions.providers.base import Provider

NAMES: tuple[str, ...] = tuple(
    sorted(
        name
        for _, name, _ in pkgutil.iter_modules(__path__)
        if name != "base" and not name.startswith("_")
    )
)


def get(name: str) -> type[Provider]:
    """The provider of this name; ValueError names those there are."""
    if name not in NAMES:
        raise ValueError(f"there is no provider {name!r}; there are: {', '.join(NAMES)}")
    module = importlib.import_module(f"{__name__}.{name}")
    provider: type[Provider] = getattr(
        module, "".join(part.capitalize() for part in name.split("_"))
    )
    return provider
