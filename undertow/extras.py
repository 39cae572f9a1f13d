"""What an installation may lack, asked for before anything is begun."""

from __future__ import annotations

from importlib.util import find_spec

from dynamics.errors import InputError


def needs(extra: str, *packages: str, instead: str = "") -> None:
    """InputError for the first of these packages that is not installed; instead: what else would do."""
    for name in packages:
        if find_spec(name) is None:
            raise InputError(f"{name!r} is missing: install undertow[{extra}]{instead}")


def needs_fullscale() -> None:
    """InputError if the extra that CNNs need is not installed."""
    needs("fullscale", "torch", "safetensors", "PIL", "sklearn", instead=", or use --only synthetic")
