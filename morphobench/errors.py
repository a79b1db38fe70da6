"""The two ways a command can fail: the input is wrong, or the machine or network is.

Every message is one line that names the file or value and the mend. The command line turns them into an exit code;
no traceback reaches a user for either.
"""

import re

ADDRESS = re.compile(r"<([\w.]+) object at 0x[0-9a-fA-F]+>")
MOST_SHOWN = 1000
"""Characters of a message; of a longer one the middle is left out, as the name leads it and the mend ends it."""


class MorphoBenchError(Exception):
    """Anything the user can be told in one printable line; what a stranger's file or name put into it is escaped."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BadInput(MorphoBenchError):
    """A file, value or name that the user gave is wrong. Exit code 2."""

    exit_code = 2


class Unavailable(MorphoBenchError):
    """Something outside the input is missing: a network, a weight file, disk space. Exit code 1."""


def one_line(message: str) -> str:
    """A message as one printable line: line ends become spaces, other unprintable characters their escapes.

    Where Python names an object by its place in memory, its kind is left. A terminal obeys control characters, and half
    a surrogate pair (a file name in another encoding) cannot be written.
    """
    line = " ".join(piece.strip() for piece in message.splitlines() if piece.strip())
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
    shown = ADDRESS.sub(r"\1", shown)
    half = MOST_SHOWN // 2
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: half - 5]} ... {shown[-half:]}"
