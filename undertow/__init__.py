"""undertow: what an optimizer and its regularizer do to a weight, from the formula to filters that die in a real CNN.

The names that a user imports stand in `__init__.pyi`, each once, where type checkers and editors find them too. What they
need is loaded when they are asked for, so that importing undertow costs nothing.
"""

import ast
from importlib import import_module, resources
from importlib.util import find_spec

_FACE = ast.parse(resources.files(__name__).joinpath("__init__.pyi").read_text(encoding="utf-8"))
_HOMES = {name.name: node.module for node in _FACE.body if isinstance(node, ast.ImportFrom) for name in node.names}
__all__ = list(_HOMES)
_NEED_TORCH = ("dynamics.optimizer", "fullscale.")


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version

        return version("undertow")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__():
    # Only what this installation can load: tab completion looks at every name.
    homes = _HOMES if find_spec("torch") else {n: h for n, h in _HOMES.items() if not h.startswith(_NEED_TORCH)}
    return sorted({*globals(), *homes, "__version__"})
