"""The command line: parsing and printing only.

The options of every command and its exit are here; `score` holds evaluate and compare, `train` the training, and each
group of commands has a module of its own.
Exit codes: 0 done, 1 the machine or the network failed, 2 the input is wrong.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import morphobench
from morphobench.cli import data, leaderboard, score, submission, train
from morphobench.errors import MorphoBenchError, one_line

MACHINE_ERRORS = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "give yourself the right to it or choose another place",
    errno.EPERM: "give yourself the right to it or choose another place",
    errno.EROFS: "choose a folder that may be written",
    errno.ENOTDIR: "name a folder",
    errno.EIO: "the disk or network drive failed: try again or choose another place",
    errno.ESTALE: "the network drive lost it: try again or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""What a disk or its owner may answer, and the mend; any other OSError is a defect of ours and keeps its traceback."""
ESCAPED = "morphobench-escaped"
"""Name of the way in which characters are written that an output's encoding lacks."""


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
app.command()(train.train)
app.add_typer(submission.app, name="submission")
app.add_typer(data.app, name="data")
app.add_typer(leaderboard.app, name="leaderboard")


def main() -> None:
    """Run the command line; every expected failure is one line on stderr."""
    codecs.register_error(ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    try:
        app(prog_name="morphobench")
    except MorphoBenchError as error:
        sys.exit(_say(str(error), error.exit_code))
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        said = f"{os.fsdecode(error.filename or 'disk')}: {error.strerror}; {MACHINE_ERRORS[error.errno]}"
        sys.exit(_say(one_line(said), 1))


def _say(message: str, code: int) -> int:
    print(f"morphobench: {message}", file=sys.stderr)
    return code


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""JSON's own escapes (`\u03b2`), so that what is printed as JSON stays JSON; raises any error but of encoding."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


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
