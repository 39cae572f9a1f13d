"""The commands of `undertow`, a file each; `arguments` holds what they share.

Every file has `add(parser)`, its flags, which load nothing heavy, and `run(arguments)`, the exit status. Its docstring is
its help: the first paragraph its line in the list of commands, the others what follows.
"""

from importlib import import_module

_NAMES = [
    "explain",
    "convert",
    "probe",
    "claims",
    "phase",
    "reproduce",
    "run",
    "train",
    "forecast",
    "measure",
    "prune",
    "compare",
    "fetch",
    "study",
    "results",
    "merge",
]
COMMANDS = {name: import_module(f"undertow.commands.{name}") for name in _NAMES}
