"""The command line: parsing and printing only.

The options of every command and its exit are here; `score` holds evaluate and compare, and each group of commands has
a module of its own. Exit codes: 0 done, 1 the machine or the network failed, 2 the input is wrong.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import morphobench
from morphobench.cli import data, leaderboard, score, submission
from morphobench.errors import MorphoBenchError

MACHINE_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG,
}  # fmt: skip
"""What a disk or its owner may answer; any other OSError is a defect of ours and keeps its traceback."""


class Interrupted(MorphoBenchError):
    """Ctrl-C."""


class Commands(TyperGroup):
    """The commands; Ctrl-C in one of them is an expected failure, which click would call `Aborted!`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; complete files are kept, nothing is half-written") from error


app = typer.Typer(
    name="morphobench",
    cls=Commands,
    help="Benchmark of generative cell morphology: does a model draw what a drug does to cells?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(score.evaluate)
app.command()(score.compare)
app.add_typer(submission.app, name="submission")
app.add_typer(data.app, name="data")
app.add_typer(leaderboard.app, name="leaderboard")


def main() -> None:
    """Run the command line; every expected failure is one line on stderr."""
    try:
        app(prog_name="morphobench")
    except MorphoBenchError as error:
        sys.exit(_say(str(error), error.exit_code))
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        sys.exit(_say(f"{error.filename or 'disk'}: {error.strerror}; free some space or choose another folder", 1))


def _say(message: str, code: int) -> int:
    print(f"morphobench: {' '.join(message.split())}", file=sys.stderr)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        print(morphobench.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
