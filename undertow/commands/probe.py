"""`undertow probe`: what an optimizer does, found by stepping it. Tiny tensors with chosen gradients are led through an
optimizer of anyone's, as a black box: which rule with which coupling it is, with which values, and where what acts is not
what is claimed. Exit status 1 if something is.
"""

from __future__ import annotations

import argparse
import json

from dynamics.lines import PARAGRAPH, fit
from undertow.commands.arguments import Parser, add_json, add_rules, say

_EXAMPLE = "torch.optim:AdamW, or optimizers:make for make(parameters) in optimizers.py in this folder"


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument(
        "optimizer",
        metavar="MODULE:FACTORY",
        help="a class, or a function of parameters or of a network (its argument is then called net or model) that makes an "
        "optimizer; or a transformation of optax, or a function of a learning rate that makes one",
    )
    add_json(parser)
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what it is; 1 where what acts is not what is claimed."""
    from dynamics.named import attribute

    optimizer = attribute(arguments.optimizer, _EXAMPLE)
    from dynamics.probe import probe

    found = probe(optimizer)
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        say(fit(str(found), PARAGRAPH))
    return 1 if found.wrong else 0
