"""The command line: `undertow COMMAND`, or `python -m undertow COMMAND`.

Until `main` looks after signals nothing is imported but what that takes: what comes while the rest is imported ends in one
line, too.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Any

    from undertow.commands.arguments import Parser

# By these a process is asked to end: Ctrl-C, `kill` and most schedulers, a terminal that goes. Which of them is ignored, as
# below nohup, stays so.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, that of this process unless it is given.

    Returns:
        The exit status. 0; 1: the command says what did not succeed; 2: an input that cannot be used, or a standard output
        that cannot be written, said in one line; 128 and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM, 129 after
        SIGHUP, 141 where the reader of standard output has left, as `| head` does.
    """
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    try:
        for number in ENDING:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    except ValueError:  # in a thread, whose process has others to look after signals
        before = {}
    try:
        return _answered(arguments)
    except BaseException as error:  # on its way out of foreign code an interrupt may have become any other error
        if not came and not isinstance(error, KeyboardInterrupt):
            raise
        ending = signal.Signals(came[0]) if came else signal.SIGINT
        how = "interrupted" if ending == signal.SIGINT else f"ended by {ending.name}"
        _say(f"{how}; what was finished is stored, the same command goes on from there")
        return 128 + ending
    finally:
        for taken, handler in before.items():
            # A process that ends here ends at once if it is asked once more.
            signal.signal(taken, handler if arguments is not None else signal.SIG_DFL)
        _let_go()


def _answered(arguments: list[str] | None) -> int:
    closed = _opened()
    from concurrent.futures import BrokenExecutor

    from dynamics.errors import InputError, on_one_line

    try:
        if closed:
            raise InputError("standard output is closed: an open one is accepted, /dev/null if nothing is to be read")
        try:
            os.getcwd()
        except OSError as error:  # libraries look for it, and fail in their own ways
            raise InputError(f"the current folder is gone ({error.strerror}): one that is there is accepted") from None
        if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a bullet shows a question mark
            sys.stdout.reconfigure(errors="replace")
        try:
            asked = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
            status: int = asked.run(asked)
        except SystemExit:  # --help and --version
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except InputError as error:
        _say(str(error))
        return 2
    except BrokenExecutor as error:
        _say(f"{on_one_line(str(error))}; what was finished is stored, run the same command again")
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        _say(f"no memory is left ({on_one_line(str(error))[:200]}); less at a time is accepted")
        return 2
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:  # the machine's: no disk space, no memory for a process, no handle left
        # Files of a name are written where that is told: what is left is what was printed.
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        said = f"standard output cannot be written ({error.strerror}): a place with room is accepted"
        _say(said if full else on_one_line(str(error)))
        return 2 if full else 1


def _no_memory(error: Exception) -> bool:
    # torch says so in words alone, on a processor and on a device.
    said = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in said or "out of memory" in said


def parser() -> Parser:
    """The parser of the command line."""
    from undertow.commands import COMMANDS
    from undertow.commands.arguments import Parser, Version

    top = Parser(prog="undertow", description="What an optimizer and its regularizer do to a weight.")
    top.add_argument("--version", action=Version, help="print the version")
    below = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        said, *more = " ".join(str(command.__doc__).split("`: ", 1)[1].split()).split(". ", 1)
        one = below.add_parser(name, help=said.rstrip("."), description=". ".join([said[0].upper() + said[1:], *more]))
        one.set_defaults(run=command.run)
        command.add(one)
    return top


def _opened() -> bool:
    """See that 0, 1 and 2 are taken, so that no file that is opened later gets what is printed; whether nothing can be."""
    closed = sys.stdout is None
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which gets the lowest number that is free
    if sys.stderr is None:  # a line to it would go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, until the process ends
    if closed:
        sys.stdout = sys.stderr
    return closed


def _say(text: str) -> None:
    said = text.encode(errors="backslashreplace").decode()  # a file name may be no text
    try:
        print(f"undertow: {said}", file=sys.stderr, flush=True)
    except OSError:  # standard error is full, or nobody reads it: there is nobody left to tell
        return


def _let_go() -> None:
    """What an output does not take is dropped: at the interpreter's end it would be tried, and told, once more."""
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


if __name__ == "__main__":
    sys.exit(main())
