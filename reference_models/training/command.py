"""What the scripts have in common: the options of a training, and one line instead of a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morphobench.errors import MorphoBenchError


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every training."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, log, weights")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out at its last checkpoint")
    parser.add_argument("--stop-after", type=int, help="stop after this many of the recipe's steps")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bfloat16", action="store_true", help="mixed precision; faster on processors with AVX512-BF16"
    )
    return parser


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one line on stderr for every expected failure, and for Ctrl-C."""
    try:
        yield
    except MorphoBenchError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        print("interrupted; the last checkpoint is kept, --resume goes on from it", file=sys.stderr)
        raise SystemExit(1) from error
