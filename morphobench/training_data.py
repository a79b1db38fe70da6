"""A split of a tier as a `torch.utils.data.Dataset`, for training loops. Nothing else in the package imports this.

>>> from morphobench.training_data import TierDataset
>>> dataset = TierDataset(load_tier("sim"), "train")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from morphobench.datasets.frozen import FINGERPRINT_BITS, morgan_fingerprint
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput

TEXTS = ("sample_id", "compound", "plate", "well")


class TierDataset(Dataset[dict[str, Any]]):
    """The samples of one split, in the tier's order. `dataset[i]` is a dict that the default collation batches:

    - image: uint8 (3, H, W), red actin, green tubulin, blue DNA; read (or rendered) when asked for.
    - g_pre, g_post: float32 (978,), log2; NaN where a compound has no measured expression.
    - dose_um: float32 (), micromolar.
    - fingerprint: float32 (1024,), Morgan radius 2; zeros, and `smiles` empty, where the structure is unknown.
    - sample_id, compound, plate, well, smiles, moa: str.

    `conditions` is what a model may know of each sample, in the same order.

    Workers may be forked or spawned: the dataset holds the expression of the split and the way to its images, and no
    open file. The workers of a `sim` dataset render what is not in the cache yet, one at a time; `prepare` does it
    before, on all cores.
    """

    def __init__(
        self, tier: Tier, split: str = "train", transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    ) -> None:
        """transform: called with each item, returns what is given out; a module-level function if workers are spawned.

        Raises BadInput for a split that the tier does not have.
        """
        rows = tier.rows(split)
        if rows.empty:
            raise BadInput(
                f"split {split!r}: tier {tier.spec.name} has {', '.join(dict.fromkeys(tier.samples['split']))}"
            )
        self.transform = transform
        self.images = tier.images(rows)
        self.conditions = tier.conditions_of(rows, split)
        self.g_pre, self.g_post = (matrix.astype(np.float32, copy=False) for matrix in tier.expression(rows))
        self.doses = rows["dose_um"].to_numpy(dtype=np.float32)
        structures = dict(zip(tier.compounds["compound"], tier.compounds["smiles"], strict=True))
        self.texts = {name: rows[name].tolist() for name in TEXTS} | {
            "smiles": [structures.get(compound, "") for compound in rows["compound"]],
            "moa": tier.mechanisms(rows).tolist(),
        }
        self.fingerprints = {
            smiles: morgan_fingerprint(smiles).astype(np.float32) if smiles else np.zeros(FINGERPRINT_BITS, np.float32)
            for smiles in set(self.texts["smiles"])
        }

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"{row=}, {len(self)=}")
        row = row % len(self)
        item = {name: values[row] for name, values in self.texts.items()} | {
            "image": torch.from_numpy(self.images.take([row])[0].transpose(2, 0, 1).copy()),
            "g_pre": torch.from_numpy(self.g_pre[row].copy()),
            "g_post": torch.from_numpy(self.g_post[row].copy()),
            "dose_um": torch.tensor(self.doses[row]),
            "fingerprint": torch.from_numpy(self.fingerprints[self.texts["smiles"][row]].copy()),
        }
        return item if self.transform is None else self.transform(item)

    def prepare(self) -> None:
        """Read every image once, so that those that are rendered on first use are in the cache."""
        for _ in self.images.batches(64):
            pass
