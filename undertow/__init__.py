"""undertow: what an optimizer and its regularizer do to a weight, from the formula to filters that die in a real CNN.

The names that a user imports stand in `__init__.pyi`, each once, where type checkers and editors find them too. What they
need is loaded when they are asked for, so that importing undertow costs nothing.
"""


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version

        return version("undertow")
    if name == "__all__":
        return list(_homes())
    # Not even their list is looked at before one is asked for: the command line is to look after signals first.
    if (name.startswith("__") and name.endswith("__")) or name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_homes()[name]), name)


def __dir__():
    from importlib.util import find_spec

    # Only what this installation can load: tab completion looks at every name.
    lacking = () if find_spec("torch") else ("dynamics.optimizer", "fullscale.")
    homes = [name for name, home in _homes().items() if not lacking or not home.startswith(lacking)]
    return sorted({*globals(), *homes, "__all__", "__version__"})


def _homes():
    """The module of each name."""
    import ast
    from importlib import resources

    if not _known:
        face = ast.parse(resources.files(__name__).joinpath("__init__.pyi").read_text(encoding="utf-8"))
        for node in face.body:
            if isinstance(node, ast.ImportFrom):
                _known.update({name.name: node.module for name in node.names})
    return _known


_known = {}
