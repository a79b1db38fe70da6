"""An image of a submission is decoded once, in memory that does not grow with the number of images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_tier import SIZE, tiny_tier

from morphobench import evaluation
from morphobench.datasets.tier import Tier
from morphobench.ingest import image_set
from morphobench.ingest.submission import open_submission
from morphobench.request import Request
from morphobench.schema import Conditions, Report


class Noise:
    """Images of noise, for every condition and every swapped one."""

    def __init__(self) -> None:
        self.manifest = {"method": "noise"}

    def generate(self, conditions: Conditions, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 255, (len(conditions), SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """File -> how often it was decoded."""
    found: Counter[str] = Counter()
    decode = image_set.decode_png

    def counted(data: bytes, name: str, size: int) -> np.ndarray:
        found[name.rpartition(": ")[2]] += 1
        return decode(data, name, size)

    monkeypatch.setattr(image_set, "decode_png", counted)
    return found


def evaluated(tier: Tier, place: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """From nothing: the cache is new."""
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(place / "cache"))
    plan = Request(model=Noise(), tier=tier, tracks=("id",), out=place, embedding="efficientnet_lite0").resolve()
    watch = evaluation.Stopwatch()
    return evaluation.score(evaluation.answered(plan, watch), plan, watch).report


def test_an_image_is_decoded_once_whatever_measures_it(
    tier: Tier, tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = evaluated(tier, tmp_path / "kept", monkeypatch)
    assert len(decoded) == 12
    assert set(decoded.values()) == {1}
    decoded.clear()
    monkeypatch.setattr(image_set, "KEPT_BYTES", 0)
    read = evaluated(tier, tmp_path / "read", monkeypatch)
    # The check, the features, the segmentation, the thumbnails, the hashes; the image panel shows two once more.
    assert sorted(decoded.values()) == [5] * 10 + [6] * 2
    assert read.scores == kept.scores


def test_no_more_pixels_are_kept_than_the_bound(
    tier: Tier, tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = evaluation.generation.generate(
        Request(model=Noise(), tier=tier, tracks=("id",), out=tmp_path, embedding="efficientnet_lite0").resolve()
    )
    whole = open_submission(folder, tier, ["id"]).images["id"]
    monkeypatch.setattr(image_set, "KEPT_BYTES", 5 * 3 * SIZE**2 + 1)
    decoded.clear()
    few = open_submission(folder, tier, ["id"]).images["id"]
    assert (len(whole.kept), len(few.kept)) == (12, 5)
    assert sum(pixels.nbytes for pixels in few.kept) <= image_set.KEPT_BYTES
    assert few.digest() == whole.digest()
    np.testing.assert_array_equal(np.concatenate(list(few.batches(7))), np.concatenate(list(whole.batches(5))))
    assert sum(decoded.values()) == 12 + 7
