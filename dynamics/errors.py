"""What every part of the project raises when a user's input cannot be used."""

from __future__ import annotations

# Characters of a message, of which the middle is left out if a value in it is longer: eight lines of a terminal.
LONGEST = 600


def on_one_line(text: str) -> str:
    """A text with its line ends and other control characters written out, so that a path stays one line, and itself.

    Example:
        >>> on_one_line("a\\nb")
        'a\\\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class InputError(ValueError):
    """A value that a user gave and that cannot be used.

    The message is one line: it names the offending value and says what is accepted. The command line prints it and
    exits with status 2.

    Example:
        >>> from undertow import parse
        >>> parse("adam lr=fast")
        Traceback (most recent call last):
        ...
        dynamics.errors.InputError: lr 'fast' is no number: a number is accepted
    """

    def __init__(self, message: object = "") -> None:
        text = on_one_line(str(message))
        half = LONGEST // 2 - 3
        super().__init__(text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}")
