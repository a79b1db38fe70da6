"""The two ways a command can fail: the input is wrong, or the machine or network is.

Every message is one line that names the file or value and the mend. The command line turns them into an exit code;
no traceback reaches a user for either.
"""


class MorphoBenchError(Exception):
    """Anything the user can be told in one line."""

    exit_code = 1


class BadInput(MorphoBenchError):
    """A file, value or name that the user gave is wrong. Exit code 2."""

    exit_code = 2


class Unavailable(MorphoBenchError):
    """Something outside the input is missing: a network, a weight file, disk space. Exit code 1."""
