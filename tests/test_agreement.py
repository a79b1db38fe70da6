"""The known traps of FID, KID and IS: where the reference libraries lose digits or depend on a draw, and this does not.

Where they are right, test_frechet.py, test_kernel.py, test_inception_score.py and test_neighbours.py hold the scores to
them; docs/precision.md has the tolerance of each stage.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from morphobench.features.torchvision_ops import ensure_torchvision
from morphobench.metrics import (
    fd_infinity,
    frechet_distance,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
)

ensure_torchvision()
import torch  # noqa: E402
from cleanfid.fid import frechet_distance as clean_fid  # noqa: E402
from cleanfid.fid import kernel_distance as clean_kid  # noqa: E402
from cleanfid.resize import build_resizer  # noqa: E402
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric  # noqa: E402
from torch_fidelity.metric_kid import kid_features_to_metric  # noqa: E402
from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: E402
from torchmetrics.image.inception import InceptionScore  # noqa: E402
from torchmetrics.image.kid import poly_mmd  # noqa: E402

from morphobench.features.resize import image_tensor, resize_v1  # noqa: E402

Pair = tuple[np.ndarray, np.ndarray]


class Given(torch.nn.Module):
    """The features themselves, for torchmetrics to take as images."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def torch_fidelity_fid(a: np.ndarray, b: np.ndarray) -> float:
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])


def clean_fid_of(a: np.ndarray, b: np.ndarray) -> float:
    return float(clean_fid(a.mean(axis=0), np.cov(a.T), b.mean(axis=0), np.cov(b.T)))


def torch_fidelity_kid(a: np.ndarray, b: np.ndarray, seed: int) -> float:
    found = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=10, kid_subset_size=20, rng_seed=seed, verbose=False
    )
    return float(found["kernel_inception_distance_mean"])


@pytest.fixture
def pair() -> Pair:
    random = np.random.default_rng(0)
    return random.normal(size=(60, 16)), random.normal(size=(60, 16)) + 0.5


@pytest.fixture
def low_rank() -> tuple[np.ndarray, np.ndarray, float]:
    """Two sets of 30 images in 60 dimensions that vary in the same 20 directions, and their exact distance."""
    random = np.random.default_rng(9)
    n, rank, d = 30, 20, 60
    directions = np.linalg.qr(random.normal(size=(d, rank)))[0].T
    spreads = random.uniform(0.01, 3, (2, rank))
    sets = []
    for spread in spreads:
        x = random.normal(size=(n, rank))
        basis, _ = np.linalg.qr(x - x.mean(axis=0))
        sets.append(np.sqrt(n - 1) * (basis * spread) @ directions)
    return sets[0], sets[1], float(((spreads[0] - spreads[1]) ** 2).sum())


def test_a_rank_deficient_covariance_costs_the_references_digits_and_not_this(
    low_rank: tuple[np.ndarray, np.ndarray, float],
) -> None:
    """Rounding makes eigenvalues of the product that are 0 into +-1e-16; their roots are 1e-8, and complex below 0."""
    a, b, exact = low_rank
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-12)
    assert np.iscomplexobj(sqrtm(np.cov(a.T) @ np.cov(b.T)))
    for theirs in (clean_fid_of(a, b), torch_fidelity_fid(a, b)):
        assert theirs == pytest.approx(exact, rel=1e-5)
        assert abs(theirs - exact) > 1e3 * abs(frechet_distance(a, b) - exact)


def test_equal_sets_are_0_apart_and_never_less(low_rank: tuple[np.ndarray, np.ndarray, float]) -> None:
    a, _, _ = low_rank
    assert 0 <= frechet_distance(a, a) < 1e-12
    assert abs(torch_fidelity_fid(a, a)) > 1e-9


def test_torchmetrics_frechet_distance_agrees(pair: Pair) -> None:
    a, b = pair
    metric = FrechetInceptionDistance(feature=Given(a.shape[1]))
    metric.update(torch.from_numpy(a), real=False)
    metric.update(torch.from_numpy(b), real=True)
    assert frechet_distance(a, b) == pytest.approx(float(metric.compute()), rel=1e-9)


def test_one_image_has_no_spread(pair: Pair) -> None:
    one = pair[0][:1]
    with pytest.warns(RuntimeWarning):
        assert not np.isfinite(np.cov(one.T)).any()
    for metric in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="two rows or more"):
            metric(one, pair[1])


def test_constant_features_have_a_distance(pair: Pair) -> None:
    """One image repeated: the reference's root is that of a zero matrix."""
    a, b = np.tile(pair[0][:1], (60, 1)), pair[1]
    shift = a[0] - b.mean(axis=0)
    assert frechet_distance(a, b) == pytest.approx(shift @ shift + b.var(axis=0, ddof=1).sum(), rel=1e-12)
    assert frechet_distance(a, b) == pytest.approx(torch_fidelity_fid(a, b), rel=1e-9)
    assert np.isfinite(kernel_distance(a, b))


def test_a_value_that_is_not_a_number_is_named_and_never_scored(pair: Pair) -> None:
    a, b = pair
    a = a.copy()
    a[3, 0] = np.nan
    # Whether the published score notices depends on whether a subset holds the row: seed 0 draws none that does.
    assert np.isfinite(torch_fidelity_kid(a, b, 0))
    assert np.isnan(torch_fidelity_kid(a, b, 1))
    for metric in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="1 of 60 rows hold values that are not finite"):
            metric(a, b)


def test_the_published_kid_depends_on_a_seed_and_this_does_not(pair: Pair) -> None:
    a, b = pair
    published = [torch_fidelity_kid(a, b, seed) for seed in range(30)]
    ours = kernel_distance(a, b)
    assert np.ptp(published) > 0.05 * ours
    assert ours == pytest.approx(np.mean(published), abs=4 * np.std(published) / np.sqrt(len(published)))
    for seed in (0, 1):
        assert kernel_distance_subsets(a, b, 20, 10, seed)[0] == pytest.approx(published[seed], rel=1e-12)


def test_clean_fid_and_torchmetrics_kid_agree_on_whole_sets(pair: Pair) -> None:
    """With subsets as large as the sets nothing is left to draw."""
    a, b = pair
    assert kernel_distance(a, b) == pytest.approx(clean_kid(a, b, num_subsets=1), rel=1e-9)
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(*map(torch.from_numpy, (a, b)))), rel=1e-9)


def test_torchmetrics_inception_score_agrees_in_one_chunk() -> None:
    """In more chunks its shuffle is another one: torch's generator, not numpy's."""
    logits = 3 * np.random.default_rng(0).normal(size=(103, 20))
    metric = InceptionScore(feature=Given(20), splits=1)
    metric.update(torch.from_numpy(logits))
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    with pytest.warns(UserWarning, match="degrees of freedom"):
        theirs = float(metric.compute()[0])
    assert inception_score(probabilities, splits=1) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("side", [128, 512])
def test_the_named_resize_is_clean_fids(side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    resized = resize_v1(image_tensor(image[None], "cpu").float(), 299)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resized, build_resizer("clean")(image), atol=5e-3)
    quantized = np.abs(resized - np.round(resized)).max()
    assert quantized > 0.4  # neither side rounds to grey levels


def test_scores_do_not_depend_on_the_order_of_the_images(pair: Pair) -> None:
    a, b = pair
    order = np.random.default_rng(1).permutation(len(a))
    assert frechet_distance(a[order], b[order]) == pytest.approx(frechet_distance(a, b), rel=1e-12)
    assert kernel_distance(a[order], b[order]) == pytest.approx(kernel_distance(a, b), rel=1e-12)
    assert fd_infinity(a[order], b[order]).value == fd_infinity(a, b).value
    probabilities = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
    whole = inception_score(probabilities, splits=1)
    assert inception_score(probabilities[order], splits=1) == pytest.approx(whole, rel=1e-12)
    # The published score is a mean over chunks of the shuffled rows: it has an order, and conditions fix it.
    assert abs(inception_score(probabilities[order]) / inception_score(probabilities) - 1) > 1e-4
