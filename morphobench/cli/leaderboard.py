"""Commands on the boards: build, add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphobench.errors import BadInput

app = typer.Typer(help="Results and the board made from them.", no_args_is_help=True)

BoardsFolder = Annotated[Path, typer.Option(help="Folder of the boards.")]


@app.command("build")
def leaderboard_build(
    root: BoardsFolder = Path("leaderboards"),
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if the board differs from the results.")
    ] = False,
) -> None:
    """Make every board again from its results."""
    from morphobench.leaderboard.board import build

    for name in build(root, check=check):
        print(f"{name}: as the results give" if check else name)


@app.command("add")
def leaderboard_add(
    report: Annotated[Path, typer.Argument(help="A report.json made by `morphobench evaluate`.")],
    root: BoardsFolder = Path("leaderboards"),
) -> None:
    """File a report among the results of its tier."""
    from morphobench.leaderboard.results import add_result, read_result

    if not report.is_file():
        raise BadInput(f"{report}: not a file; give the report.json that `morphobench evaluate` left")
    print(add_result(read_result(report), root))
