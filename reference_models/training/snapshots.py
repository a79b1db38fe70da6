"""Averages of the weights that a run keeps on its way, and the average of any width put together from them.

One is a file of weights, `averages/step-00000500__0.1.safetensors`: step and relative width of its profile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from morphobench.errors import BadInput
from morphobench.storage import copy_whole
from reference_models.core import weight_file
from reference_models.shipped import BESIDE_WEIGHTS, RUN_WEIGHTS
from reference_models.training.average import WIDEST, combined, reconstruction
from reference_models.training.run_folder import RunFolder

FOLDER = "averages"


@dataclass(frozen=True)
class Snapshots:
    """Keeps the averages, by width, every so many steps (a `loop.Observer`)."""

    every: int
    folder: RunFolder
    averages: Mapping[float, nn.Module]

    def look(self, step: int) -> Mapping[str, float]:
        """Write one file for each width; there is nothing to log."""
        for width, average in self.averages.items():
            path = self.folder.path / FOLDER / f"step-{step:08d}__{width}.safetensors"
            about = {"average": json.dumps({"step": step, "width": width})}
            weight_file.write(path, average, self.folder.metadata | about)
        return {}


def put_together(run: Path, width: float, out: Path) -> Path:
    """The weights of a run's last snapshot, averaged by the profile of another width, in a folder of their own.

    out: what `evaluate --checkpoint` takes: weights, and the models that lie beside them in the run.
    BadInput for a width that no profile has, a run without snapshots, and a folder that is the run or holds weights.
    """
    if not 0 < width < WIDEST:
        raise BadInput(f"width {width}: give one between 0 and {WIDEST}")
    if (out / RUN_WEIGHTS).exists() or (out.exists() and out.samefile(run)):
        raise BadInput(f"{out}: holds weights, or is the run itself; choose another folder")
    paths = sorted((run / FOLDER).glob("step-*.safetensors"))
    if not paths:
        raise BadInput(f"{run}: has no {FOLDER}; train with --set 'recipe.ema_widths=[0.05, 0.1]'")
    metadata = [weight_file.read(path).metadata for path in paths]
    kept = [json.loads(one["average"]) for one in metadata]
    last = max(one["step"] for one in kept)
    weights = reconstruction([one["step"] for one in kept], [one["width"] for one in kept], last, width)
    tensors = combined(map(load_file, paths), weights)
    steps = json.loads(metadata[0]["configuration"])["recipe"]["steps"]
    about = {
        "average": json.dumps({"step": last, "width": width}),
        "training": json.dumps({"step": last, "steps": steps}),
    }
    for beside in (place for name in BESIDE_WEIGHTS if (place := run / name).exists()):
        copy_whole(beside, out / beside.name)
    weight_file.write_tensors(out / RUN_WEIGHTS, tensors, metadata[0] | about)
    return out / RUN_WEIGHTS
