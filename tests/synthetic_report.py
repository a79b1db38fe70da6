"""Made-up reports and evaluations with the shape of real ones, for the tests of the page and the board."""

from __future__ import annotations

import numpy as np

from morphobench.datasets.simulate.mechanisms import MECHANISMS
from morphobench.features.objects import COMPARTMENTS
from morphobench.metrics.registry import METRICS as ROWS
from morphobench.report.contents import Evaluation, PanelColumn, TrackContents
from morphobench.schema import Enrichment, Manifest, Report, Score, Trivial

PANEL = ("AZ138", "docetaxel", "cytochalasin B", "nocodazole", "staurosporine", "compound 3")
SPLIT = "5" * 64
# row, extractor, direction, unit, vehicle, real replicates, typical half-width
METRICS = (
    ("fd", "efficientnet_lite0", "min", "", 240.0, 31.0, 9.0),
    ("kd", "efficientnet_lite0", "min", "", 0.21, 0.002, 0.012),
    ("is", "inception", "none", "", 2.1, 2.6, 0.1),
    ("lda_separability", "", "max", "fraction", 0.11, 0.91, 0.03),
    ("area_occupied_shift[cells]", "", "max", "fraction", 0.0, 0.93, 0.05),
    ("kd_per_compound", "efficientnet_lite0", "min", "", 0.31, 0.004, 0.02),
    ("area_occupied_shift[nuclei_no_edge]", "", "max", "fraction", 0.0, 0.95, 0.05),
    ("lfc_pearson", "", "max", "r", 0.0, 0.88, 0.02),
    ("lfc_pearson_vehicle", "", "max", "r", 0.0, 0.71, 0.03),
)


def manifest(name: str = "trident", group: str = "morphobench", version: str = "0.1.0", **fields: object) -> Manifest:
    """A manifest; `fields` replace any of its values."""
    given = {
        "name": name,
        "group": group,
        "version": version,
        "tier": "sim",
        "tier_version": "1.0",
        "split_sha256": SPLIT,
        "method": "Latent diffusion transformer conditioned on drug and RNA",
        "parameters": 2_513_408,
        "sampler": "ddim",
        "steps": 50,
        "training_data": "sim training split",
        "licence": "Apache-2.0",
    }
    return Manifest.model_validate(given | fields)


def report(submission: Manifest | None = None, quality: float = 0.7, seed: int = 0, simulated: bool = True) -> Report:
    """A report whose scores lie at about `quality` on the scale from vehicle to real replicates."""
    generator = np.random.default_rng(seed)
    scores = []
    for track, n in (("id", 704), ("ood", 864)):
        for name, features, direction, unit, vehicle, floor, half in METRICS:
            at = quality + 0.05 * generator.standard_normal() - (0.3 if track == "ood" else 0)
            value = vehicle + at * (floor - vehicle)
            controls = {
                name: vehicle + place * (floor - vehicle)
                for name, place in (("vehicle", 0.0), ("copycat", 0.93), ("wrong-compound", 0.4), ("mean-image", -0.8))
            }
            row = ROWS[name]
            trivial = {"training mean": 0.3, "nearest structure": 0.34} if name.startswith("lfc") else {}
            scores.append(
                Score(
                    key=row.printed_key(features),
                    metric=row.key,
                    part=row.part,
                    features=features,
                    version=row.version,
                    track=track,
                    value=value,
                    n=n,
                    interval=(value - half, value + half),
                    direction=direction,
                    unit=unit,
                    floor=floor,
                    controls=controls,
                    trivial=tuple(
                        Trivial(name=name, value=other, difference=(value - other - half, value - other + half))
                        for name, other in trivial.items()
                    ),
                    scaled=(value - vehicle) / (floor - vehicle) if direction != "none" else None,
                )
            )
        scores.append(
            Score(
                key="fid",
                metric="fd",
                features="inception",
                version=1,
                track=track,
                value=None,
                reason="Inception weights not given",
                n=0,
                direction="min",
                unit="",
            )
        )
    submission = submission or manifest()
    return Report(
        submission=submission,
        tier=submission.tier,
        tier_version=submission.tier_version,
        simulated=simulated,
        split_sha256=submission.split_sha256,
        images_sha256="a" * 64,
        scores=tuple(scores),
        enrichment=_enrichment(),
        seed=0,
        protocol={"efficientnet_lite0": "57934424"},
        versions={"morphobench": "0.1.0"},
        hardware={"cpu": "2 cores"},
        seconds={"render": 61.0, "features": 80.2},
    )


def evaluation(
    seed: int = 0, simulated: bool = True, compounds: int = 12, images: int = 8, genes: int = 60
) -> Evaluation:
    """An evaluation whose generated embeddings lie between vehicle and real ones."""
    made = report(seed=seed, simulated=simulated)
    tracks = (
        _track("id", "Compounds seen in training", seed, compounds, images, genes),
        _track("ood", "Compounds never seen", seed + 1, compounds, images, genes),
    )
    return Evaluation(made, tracks, ("actin", "tubulin", "DNA"), um_per_pixel=1.0)


def _enrichment() -> tuple[Enrichment, ...]:
    terms = (
        "Mitotic Spindle Organization (GO:0007052)",
        "Microtubule Cytoskeleton Organization Involved In Mitosis (GO:1902850)",
        "Sister Chromatid Segregation (GO:0000819)",
        "Regulation Of Apoptotic Process (GO:0042981)",
        "DNA Repair (GO:0006281)",
        "Cholesterol Biosynthetic Process (GO:0006695)",
        "Response To Unfolded Protein (GO:0006986)",
    )
    rows = []
    for place, term in enumerate(terms):
        for source, loss in (("measured", 0.0), ("predicted", 2.5)):
            for direction in ("up", "down"):
                exponent = 9 - 1.2 * ((place * 3 + (direction == "down") * 2) % 7) - loss
                if exponent > 0.2:
                    row = Enrichment(
                        compound="docetaxel",
                        direction=direction,
                        source=source,
                        term=term,
                        overlap=f"{9 - place}/40",
                        p_adjusted=10.0**-exponent,
                    )
                    rows.append(row)
    return tuple(rows)


def _track(name: str, title: str, seed: int, compounds: int, images: int, genes: int) -> TrackContents:
    generator = np.random.default_rng(seed)
    dimension = 16
    names = np.array([f"compound {i}" for i in range(compounds)])
    mechanism = np.array([MECHANISMS[i % len(MECHANISMS)] for i in range(compounds)])
    centres = 2.2 * generator.normal(size=(len(MECHANISMS), dimension))
    who = np.repeat(np.arange(compounds), images)
    shift = centres[who % len(MECHANISMS)]

    def cloud(points: np.ndarray) -> np.ndarray:
        return (points + generator.normal(size=points.shape)).astype(np.float32)

    def area(mean: float, count: int) -> dict[str, np.ndarray]:
        return {
            part: generator.beta(20 * mean * share, 20 * (1 - mean * share), count)
            for part, share in zip(COMPARTMENTS, (1.0, 0.7, 0.3), strict=True)
        }

    measured = centres[np.arange(compounds) % len(MECHANISMS)] @ generator.normal(size=(dimension, genes)) / 8
    return TrackContents(
        track=name,
        title=title,
        compounds=names[who],
        doses=np.full(len(who), 1.0),
        mechanisms=mechanism[who],
        generated_embedding=cloud(0.7 * shift),
        real_embedding=cloud(shift),
        real_compounds=names[who],
        real_mechanisms=mechanism[who],
        vehicle_embedding=cloud(np.zeros((48, dimension))),
        train_embedding=cloud(np.repeat(shift, 2, axis=0)),
        train_mechanisms=np.repeat(mechanism[who], 2),
        generated_area=area(0.45, len(who)),
        real_area=area(0.4, len(who)),
        vehicle_area=area(0.7, 48),
        predicted_lfc=0.6 * measured + 0.3 * generator.normal(size=measured.shape),
        measured_lfc=measured + 0.2 * generator.normal(size=measured.shape),
        lfc_compounds=tuple(names),
        panel=tuple(_panel(generator, compound) for compound in PANEL),
    )


def _panel(generator: np.random.Generator, compound: str) -> PanelColumn:
    y, x = np.mgrid[:64, :64]

    def fields() -> np.ndarray:
        image = np.zeros((3, 64, 64, 3))
        for field in image:
            for cy, cx in generator.uniform(6, 58, (9, 2)):
                distance = np.hypot(y - cy, x - cx)
                field[..., 2] += np.exp(-((distance / 4) ** 4))
                field[..., 1] += 0.6 * np.exp(-((distance / 8) ** 2))
                field[..., 0] += 0.5 * np.exp(-(((distance - 8) / 2) ** 2))
        noisy = 190 * image + 12 + 5 * generator.standard_normal(image.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    return PanelColumn(compound, 1.0, fields(), fields(), fields())
