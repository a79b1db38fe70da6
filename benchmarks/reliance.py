"""What the reliance and memorisation rows give for images of which it is known what was used to draw them.

    python benchmarks/reliance.py [--write]

Controls (real images) and, for the swaps, the true counterfactuals and a model that draws the true images and ignores
what is swapped; both tracks of the sim tier, SIMULATED. `--write` puts the table into benchmarks/reliance.md. The real
images are rendered on first use.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from validation_sets import ArrayImages

from morphobench import provenance
from morphobench.datasets import load_tier
from morphobench.datasets.swaps import Kind, Swap, SwappedTruth, place, swaps
from morphobench.datasets.tier import ImageSet, Tier
from morphobench.features.cache import extract
from morphobench.features.registry import load_extractor
from morphobench.features.shipped import shipped_file
from morphobench.features.thumbnails import VERSION, thumbnail, thumbnails
from morphobench.metrics import METRICS, MemorisationInputs
from morphobench.metrics.inputs import DrugSwapInputs, RnaSwapInputs, SwapInputs
from morphobench.metrics.memorisation import nearest_view_distance
from morphobench.models import load_model
from morphobench.scoring.controls import CONTROLS
from morphobench.scoring.scores import REPLICATES
from morphobench.storage import atomic_write_text, cache_dir

SPOILT = 64
"""Training images that are spoilt and taken for generated ones."""
MEMORISED = ("train_copies", "near_copies", "nearest_train_distance")


class TrackBench:
    """One track of a tier: its real images as the rows see them."""

    def __init__(self, tier: Tier, track: str) -> None:
        self.tier, self.track, self.network = tier, track, load_extractor(tier.spec.embedding)
        rows, train = tier.test_rows(track), tier.training_rows(track)
        self.compounds, self.plates = rows["compound"].to_numpy(str), rows["plate"].to_numpy(str)
        self.conditions = tier.conditions(track)
        self.swaps = swaps(tier, self.conditions)
        self.real = self.embedding(tier.images(rows), track)
        self.small = thumbnails(tier.images(rows), cache_dir(), shipped_file(tier, VERSION, track))
        self.train = self.embedding(tier.images(train), "train")
        self.train_small = thumbnails(tier.images(train), cache_dir(), shipped_file(tier, VERSION, "train"))
        self.truth = {
            kind: self.embedding(SwappedTruth(tier, track, swap), place(track, kind)) - self.real[swap.rows]
            for kind, swap in self.swaps.items()
        }

    def embedding(self, images: ImageSet, split: str = "") -> np.ndarray:
        """Shipped where there is a file for the split."""
        shipped = shipped_file(self.tier, self.network.name, split) if split else None
        return extract(images, self.network, cache_dir(), shipped=shipped).embedding

    def swap_inputs(self, swap: Swap, moved: np.ndarray) -> SwapInputs:
        """What the rows see of a model whose images moved by this in the embedding."""
        seen = swap.compared
        bundle = DrugSwapInputs if swap.kind == "drug" else RnaSwapInputs
        return bundle(
            moved, self.compounds[swap.rows], self.plates[swap.rows], self.real[seen], self.compounds[seen],
            self.plates[seen], swap.toward, self.truth[swap.kind],
        )  # fmt: skip

    def control(self, name: str) -> dict[str, str]:
        """Every row for a control."""
        model = load_model(name, self.tier, "cpu")
        images = ArrayImages(np.asarray(model.generate(self.conditions, 0)))
        own, small = self.embedding(images), thumbnails(images, cache_dir())
        found = {}
        for kind, swap in self.swaps.items():
            swapped = self.embedding(ArrayImages(np.asarray(model.generate(swap.conditions, 0))))
            found |= self.swapped(kind, swapped - own[swap.rows])
        inputs = MemorisationInputs(
            _nearest(own, self.train), _nearest(self.real, self.train),
            nearest_view_distance(small, self.train_small), nearest_view_distance(self.small, self.train_small),
            self.compounds, self.plates,
        )  # fmt: skip
        return found | {key: f"{METRICS[key].score(inputs):.3f}" for key in MEMORISED}

    def swapped(self, kind: Kind, moved: np.ndarray) -> dict[str, str]:
        """Gap with its interval, and error."""
        inputs = self.swap_inputs(self.swaps[kind], moved)
        gap, error = METRICS[f"{kind}_swap_gap"], METRICS[f"{kind}_swap_error"]
        span = gap.interval(inputs, REPLICATES, 0)
        shown = f" ({span[0]:.2f} to {span[1]:.2f})" if span else ""
        return {gap.key: f"{gap.score(inputs):.3f}{shown}", error.key: f"{error.score(inputs):.3f}"}

    def changes(self) -> list[str]:
        """How far real units lie apart, and by how much noise alone would lengthen that."""
        found = []
        for kind, truth in self.truth.items():
            units = self.swap_inputs(self.swaps[kind], truth).changes.values()
            length, bias = np.mean([unit.length for unit in units]), np.mean([unit.bias for unit in units])
            found.append(f"- {self.track}, {kind}: mean |D|^2 {length:.3g} per unit, and {bias:.3g} by noise")
        return found

    def copies(self) -> str:
        """Thumbnail distances, least, median and largest, of real test images and of spoilt training images."""
        rows = self.tier.training_rows(self.track).iloc[:SPOILT]
        images = self.tier.images(rows).take(range(SPOILT))
        noise = np.random.default_rng(0).normal(0, 5, images.shape)
        sets = {
            "real test images": self.small,
            "training images turned": thumbnail(np.rot90(images, 1, axes=(1, 2))),
            "with noise of 5 grey levels": thumbnail(np.clip(images + noise, 0, 255).astype(np.uint8)),
            "brighter by a tenth": thumbnail(np.clip(images * 1.1, 0, 255).astype(np.uint8)),
            "their mean image": thumbnail(images.mean(axis=0, keepdims=True).astype(np.uint8)),
        }
        shown = []
        for name, small in sets.items():
            low, middle, high = np.quantile(nearest_view_distance(small, self.train_small), [0, 0.5, 1])
            shown.append(f"{name} {low:.3g}, {middle:.3g}, {high:.3g}")
        return f"- {self.track}, thumbnail distance to the nearest training image: {'; '.join(shown)}"


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * points.astype(np.float64) @ others.T
    return np.sqrt(np.maximum(squares, 0).min(axis=1))


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into benchmarks/reliance.md")
    write, start = parser.parse_args().write, time.perf_counter()
    tier = load_tier("sim")
    columns = [f"{kind}_swap_{row}" for kind in ("drug", "rna") for row in ("gap", "error")] + list(MEMORISED)
    lines = [f"| track | images | {' | '.join(f'`{key}`' for key in columns)} |", "|---" * (len(columns) + 2) + "|"]
    below: list[str] = []
    for track in tier.default_tracks:
        bench = TrackBench(tier, track)
        below += [*bench.changes(), bench.copies()]
        found: dict[str, dict[str, str]] = {"true counterfactuals": {}, "true images, swap ignored": {}}
        for kind, truth in bench.truth.items():
            found["true counterfactuals"] |= bench.swapped(kind, truth)
            found["true images, swap ignored"] |= bench.swapped(kind, 0 * truth)
        found |= {name: bench.control(name) for name in CONTROLS}
        for name, cells in found.items():
            lines.append(f"| {track} | {name} | {' | '.join(cells.get(key, '') for key in columns)} |")
    setting = {"sim": tier.spec.version} | provenance.hardware("cpu") | provenance.versions()
    note = f"`python benchmarks/reliance.py`, {time.perf_counter() - start:.0f} s; SIMULATED. " + ", ".join(
        f"{name} {value}" for name, value in setting.items()
    )
    text = "\n".join(["# Reliance and memorisation of known images", "", *lines, "", *below, "", note + ".", ""])
    print(text)
    if write:
        atomic_write_text(Path(__file__).parent / "reliance.md", text)


if __name__ == "__main__":
    main()
