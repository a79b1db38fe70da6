"""Exports and the torch data set of the sim tier: images per second, MB of pixels per second, peak memory at 1x and 4x.

    python benchmarks/export.py [--images 512]

Each line is a process of its own (its own peak memory, children apart); the images are rendered before, so that the
time is that of reading and writing. The first line is what the process needs before it touches an image.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from morphobench import provenance
from morphobench.datasets import load_tier

PIXELS = 128 * 128 * 3


def peak_mib() -> float:
    """Largest resident set of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(what: str, images: int, out: Path) -> None:
    """Run one export, or one pass of the data loader, of the first images of `train`; print seconds and peak memory."""
    tier = load_tier("sim")
    start = time.perf_counter()
    if what in ("png", "zarr", "anndata"):
        from morphobench.export import export

        export(tier, what, out, ["train"], images)
    elif what.startswith("loader"):
        from torch.utils.data import DataLoader, Subset

        from morphobench.training_data import TierDataset

        loader = DataLoader(Subset(TierDataset(tier), range(images)), batch_size=32, num_workers=int(what[-1]))
        assert sum(len(batch["image"]) for batch in loader) == images
    print(time.perf_counter() - start, peak_mib())


def main() -> None:
    """Print a Markdown table, a line per (what, number of images)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="1x; 4x are all of the training images that are there")
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "IMAGES", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], int(given.one[1]), Path(given.one[2]))
        return
    print(" ".join(f"{key}: {value};" for key, value in provenance.hardware("cpu").items()))
    with tempfile.TemporaryDirectory() as place:
        environment = os.environ | {"MORPHOBENCH_CACHE": f"{place}/cache"}
        for what in ("render", "nothing", "png", "zarr", "anndata", "loader 0", "loader 2"):
            if what == "nothing":
                print("\n| what | images | images/s | MB/s | peak MiB |\n|---|---|---|---|---|")
            for images in (
                (given.images, 4 * given.images) if what not in ("render", "nothing") else (4 * given.images,)
            ):
                command = [sys.executable, __file__, "--one", "png" if what == "render" else what, str(images)]
                done = subprocess.run([*command, f"{place}/out"], env=environment, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                if what != "render":
                    seconds, peak = map(float, done.stdout.split())
                    rates = f"{images / seconds:.0f} | {images * PIXELS / seconds / 1e6:.1f}"
                    print(f"| {what} | {images} | {rates if what != 'nothing' else '- | -'} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
