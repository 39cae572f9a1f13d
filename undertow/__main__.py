"""The command line: `undertow COMMAND`, or `python -m undertow COMMAND`."""

from __future__ import annotations

import io
import os
import sys

from dynamics.errors import InputError
from dynamics.given import on_one_line
from undertow.commands import COMMANDS
from undertow.commands.arguments import Parser, Run, Version


def _broken_executor() -> type[Exception]:
    # Looked up only when something was raised.
    from concurrent.futures import BrokenExecutor

    return BrokenExecutor


def _no_memory(error: Exception) -> bool:
    # torch says so in words alone, on a processor and on a device.
    said = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in said or "out of memory" in said


def parser() -> Parser:
    """The parser of the command line."""
    top = Parser(prog="undertow", description="What an optimizer and its regularizer do to a weight.")
    top.add_argument("--version", action=Version, help="print the version")
    below = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        said, *more = " ".join(str(command.__doc__).split("`: ", 1)[1].split()).split(". ", 1)
        one = below.add_parser(name, help=said.rstrip("."), description=". ".join([said[0].upper() + said[1:], *more]))
        one.set_defaults(run=command.run)
        command.add(one)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. 2: an input that cannot be used, said in one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a bullet shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        asked = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        run: Run = asked.run
        return run(asked)
    except InputError as error:
        print(f"undertow: {on_one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "undertow: interrupted; what was finished is stored, the same command goes on from there", file=sys.stderr
        )
        return 130
    except _broken_executor() as error:
        why = on_one_line(str(error))
        print(f"undertow: {why}; what was finished is stored, run the same command again", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        print(
            f"undertow: no memory is left ({on_one_line(str(error))[:200]}); less at a time is accepted",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # the reader of our output has left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
