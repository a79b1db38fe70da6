"""Two flat maps of the embeddings: LDA by mechanism, and UMAP of generated, real and vehicle images."""

from __future__ import annotations

import warnings
from importlib.metadata import version

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from morphobench import storage
from morphobench.report.contents import TrackContents
from morphobench.report.drawing import (
    CLASS_COLOURS,
    GENERATED,
    INK,
    REAL,
    VEHICLE,
    WIDTH,
    Picture,
    bare,
    blank,
    encode_figure,
    finite_rows,
)

SMALLEST = 12
"""Fewer points than this make no map."""
UMAP_POINTS = {"generated": 600, "real": 600, "vehicle": 300}
UMAP_NEIGHBOURS = 15
UMAP_EPOCHS = 200


def lda_map(track: TrackContents, simulated: bool) -> Picture | None:
    """Generated images on the first two discriminants of the mechanisms; None with fewer than three mechanisms.

    The discriminants are fitted on real training images (Ledoit-Wolf shrinkage, so that few images per mechanism do not
    break it); real test images are the background; a line joins a mechanism's real centroid to its generated one.
    """
    fitted = (track.train_mechanisms != "") & finite_rows(track.train_embedding)
    names, counts = np.unique(track.train_mechanisms[fitted], return_counts=True)
    names = names[counts >= 2]
    fitted &= np.isin(track.train_mechanisms, names)
    if len(names) < 3 or fitted.sum() < SMALLEST:
        return None
    # The fit of the score, `metrics.separability`, with its equal priors.
    equal = np.full(len(names), 1 / len(names))
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=2, priors=equal)
    lda.fit(track.train_embedding[fitted], track.train_mechanisms[fitted])
    real, real_names = _project(lda, track.real_embedding, track.real_mechanisms, names)
    made, made_names = _project(lda, track.generated_embedding, track.mechanisms, names)
    if not len(real) or not len(made):
        return None
    shown = [name for name in names if (real_names == name).any() and (made_names == name).any()]
    figure = blank(4.3 + 0.17 * -(-len(shown) // 2))
    axes = figure.add_subplot()
    for place, name in enumerate(shown):
        colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        axes.scatter(*_xy(real[real_names == name]), s=9, color=colour, alpha=0.22, linewidths=0, zorder=1)
        axes.scatter(*_xy(made[made_names == name]), s=11, color=colour, alpha=0.8, marker="^", linewidths=0, zorder=2)
    for place, name in enumerate(shown):
        colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        start, end = real[real_names == name].mean(axis=0), made[made_names == name].mean(axis=0)
        axes.plot(*np.stack([start, end]).T, color=INK, linewidth=1, zorder=3)
        axes.scatter(*_xy(start), s=120, facecolor="white", edgecolor=colour, linewidths=1.6, zorder=4)
        axes.scatter(*_xy(end), s=130, facecolor=colour, edgecolor="white", linewidths=0.8, marker="^", zorder=5)
        axes.annotate(str(place + 1), _xy(start), ha="center", va="center", fontsize=6.5, weight="bold", zorder=6)
        tag = axes.annotate(str(place + 1), _xy(end), (6, 4), textcoords="offset points", fontsize=7.5, zorder=7)
        tag.set(weight="bold", path_effects=[withStroke(linewidth=1.8, foreground="white")])
        axes.scatter([], [], s=30, color=colour, label=f"{place + 1}  {name}")
    _window(axes, np.concatenate([real, made]))
    bare(axes)
    axes.set(xlabel="discriminant 1", ylabel="discriminant 2")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=7, handletextpad=0.2)
    caption = (
        f"Do generated cells fall where their mechanism does? LDA fitted on {fitted.sum():,} real training images. "
        f"Faint dots: {len(real):,} real test images; triangles: {len(made):,} generated ones. Rings are the real "
        "centres, large triangles the generated ones; the line between them is how far the model misses."
    )
    alt = (
        f"LDA map, {track.title}: {len(shown)} mechanisms ({', '.join(shown)}); real test images as faint dots, "
        "generated images as triangles, a line from each real centre to its generated centre."
    )
    return encode_figure(figure, simulated, alt, caption)


def umap_map(track: TrackContents, simulated: bool) -> Picture | None:
    """UMAP of a fixed sample of generated, real and vehicle embeddings; None with fewer than SMALLEST points."""
    groups = {
        "generated": track.generated_embedding,
        "real": track.real_embedding,
        "vehicle": track.vehicle_embedding,
    }
    generator = np.random.default_rng(0)
    sample = {}
    for name, points in groups.items():
        points = points[finite_rows(points)]
        keep = generator.permutation(len(points))[: UMAP_POINTS[name]]
        sample[name] = points[np.sort(keep)]
    everything = np.concatenate(list(sample.values())).astype(np.float32)
    if len(everything) < SMALLEST:
        return None
    flat = _umap(everything)
    owner = np.repeat(list(sample), [len(points) for points in sample.values()])
    figure = blank(WIDTH)
    axes = figure.add_subplot()
    for name, colour, marker, order in (
        ("vehicle", VEHICLE, "s", 1),
        ("real", REAL, "o", 2),
        ("generated", GENERATED, "^", 3),
    ):
        points = flat[owner == name]
        axes.scatter(*_xy(points), s=11, color=colour, alpha=0.55, marker=marker, linewidths=0, zorder=order)
        axes.scatter([], [], s=34, color=colour, marker=marker, label=f"{name} ({len(points):,})")
    bare(axes)
    axes.set(xlabel="UMAP 1", ylabel="UMAP 2")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, handletextpad=0.1)
    counts = ", ".join(f"{len(points):,} {name}" for name, points in sample.items())
    caption = (
        f"Where the orange lies over the blue, generated images resemble real ones; orange over grey looks "
        f"untreated; orange alone looks like nothing real. A seeded sample: {counts}. "
        "Distances between islands mean little."
    )
    alt = f"UMAP of image embeddings, {track.title}: {counts} images in three colours and marker shapes."
    return encode_figure(figure, simulated, alt, caption)


def _project(
    lda: LinearDiscriminantAnalysis, points: np.ndarray, labels: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """((K, 2) coordinates, (K,) labels) of the finite points whose mechanism the discriminants know."""
    keep = np.isin(labels, names) & finite_rows(points)
    if not keep.any():
        return np.empty((0, 2)), labels[keep]
    return lda.transform(points[keep])[:, :2], labels[keep]


def _xy(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two coordinates of (K, 2) points or of one (2,) point."""
    return points[..., 0], points[..., 1]


def _window(axes: Axes, points: np.ndarray) -> None:
    """Show the central 99% in each direction with a margin, so that one stray image does not shrink the map."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.06 * np.maximum(high - low, 1e-6)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))


def _umap(points: np.ndarray) -> np.ndarray:
    """(N, 2) coordinates of (N, D) float32 points, cached by content: compiling UMAP costs more than running it.

    Neighbours come from scikit-learn and the start from PCA, which spares the slowest parts of that compilation and
    makes the map the same on every run.
    """
    settings = f"neighbours={UMAP_NEIGHBOURS} epochs={UMAP_EPOCHS} {points.shape}"
    content = storage.sha256_bytes(np.ascontiguousarray(points).tobytes())
    key = storage.sha256_text(version("umap-learn"), settings, content)
    path = storage.cache_dir() / "umap" / f"{key}.npy"
    if path.is_file():
        return np.load(path)
    import umap  # five seconds to import, needed only when the map is new

    neighbours = min(UMAP_NEIGHBOURS, len(points) - 1)
    distances, indices = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors(points)
    start = PCA(2, svd_solver="full").fit_transform(points)
    start = (10 * start / max(float(np.abs(start).max()), 1e-12)).astype(np.float32)
    layout = umap.UMAP(
        n_neighbors=neighbours,
        min_dist=0.15,
        init=start,
        n_epochs=UMAP_EPOCHS,
        random_state=0,
        n_jobs=1,
        precomputed_knn=(indices, distances.astype(np.float32), None),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn")  # it warns that no index is kept for new points
        flat = layout.fit_transform(points)
    with storage.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, flat)
    return flat
