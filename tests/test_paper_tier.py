"""morphogene-paper: the paper's recipe, its leak counted without a pixel, and its images made as they are read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bbbc021_layout import lay_out, rendered_source, write_mechanisms
from test_build import PLATES, made_rows, write_level3

from morphobench.datasets import load_compounds, load_tier
from morphobench.datasets.morphogene import paper_recipe, split_rules
from morphobench.datasets.morphogene.build import build
from morphobench.datasets.morphogene.folder import load_built, load_frozen, verify
from morphobench.datasets.morphogene.paper_recipe import VIEWS, dihedral, leak
from morphobench.errors import BadInput
from morphobench.evaluation import evaluate
from morphobench.models import load_model
from morphobench.scoring.controls import FLOOR, VEHICLE

NAME = "morphogene-paper"


@pytest.fixture(scope="module")
def frozen():
    return load_frozen(NAME)


def test_every_compound_has_a_thousand_images_and_fields_take_turns(frozen):
    made = frozen.samples[frozen.samples["split"].isin(["train", "id", "ood"])]
    compounds = load_compounds().set_index("compound")
    assert made["compound"].value_counts().to_dict() == dict.fromkeys(compounds.index, 1000)
    assert frozen.samples["sample_id"].is_unique
    for compound, own in made.groupby("compound"):
        expected = {"train": 800, "id": 200} if compounds.loc[compound, "cohort"] == "ID" else {"ood": 1000}
        assert own["split"].value_counts().to_dict() == expected
        n = int(compounds.loc[compound, "n_images"])
        assert len(own.drop_duplicates(split_rules.FIELD)) == min(n, 1000)
        assert len(own.drop_duplicates([*split_rules.FIELD, "view"])) == min(VIEWS * n, 1000)
        uses = own.groupby(split_rules.FIELD).size()
        assert uses.max() - uses.min() <= 1


def test_the_leak_is_what_a_plain_count_finds(frozen):
    for track in ("id", "ood"):
        tested, trained = frozen.test_rows(track), frozen.training_rows(track)
        keys = ["plate", "well", "site", "view"]
        images = Counter(map(tuple, trained[keys].to_numpy().tolist()))
        fields = {key[:3] for key in images}
        asked = list(map(tuple, tested[keys].to_numpy().tolist()))
        found = leak(tested, trained)
        assert found.tested == len(asked)
        assert found.distinct == len(set(asked))
        assert found.copied == sum(key in images for key in asked)
        assert found.same_field == sum(key[:3] in fields for key in asked)
    # With 96 fields, 232 of 1,000 images are a second copy: 464 have a twin, which is trained on in 8 of 10 cases.
    shares = frozen.test_rows("id").assign(
        copied=lambda rows: pd.MultiIndex.from_frame(rows[keys]).isin(
            pd.MultiIndex.from_frame(frozen.training_rows("id")[keys])
        )
    )
    sizes = load_compounds().set_index("compound")["n_images"]
    usual = shares[shares["compound"].map(sizes) == 96]["copied"]
    assert usual.mean() == pytest.approx(0.464 * 0.8, abs=3 * np.sqrt(0.37 * 0.63 / len(usual)))
    assert leak(frozen.test_rows("ood"), frozen.training_rows("ood")).same_field == 0
    apart = load_frozen("morphogene")
    assert leak(apart.test_rows("id"), apart.training_rows("id")).same_field == 0


def test_another_table_is_refused(monkeypatch):
    monkeypatch.setattr(paper_recipe, "SEED", "another")
    with pytest.raises(BadInput, match="morphogene-paper: the derived table has hash"):
        split_rules.frozen_samples(NAME)


def test_eight_views_are_the_symmetries_of_the_square():
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    views = {dihedral(image, view).tobytes() for view in range(VIEWS)}
    assert len(views) == VIEWS
    np.testing.assert_array_equal(dihedral(image, 0), image)
    assert {dihedral(dihedral(image, a), b).tobytes() for a in range(VIEWS) for b in range(VIEWS)} == views
    assert image[:, ::-1].tobytes() in views
    assert image.swapaxes(0, 1).tobytes() in views


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the tier: one layout, an ID and an OOD compound, simulated pixels, made profiles."""
    folder = tmp_path_factory.mktemp("paper")
    images = lay_out(folder / "images", made_rows(), rendered_source(), write_mechanisms(folder / "tables"))
    return build(NAME, images, write_level3(folder / "l1000", ["emetine"]), out=folder / "tier")


def test_a_built_part_stores_each_field_once_and_gives_its_views(built, frozen):
    tier = load_built(NAME, built)
    assert verify(NAME, built) == 9 + 6 + 4  # images, tables, records of three plates and of the expression
    whole = frozen.samples.set_index("sample_id")
    assert set(tier.samples["sample_id"]) <= set(whole.index)
    assert (tier.samples["split"] == whole.loc[tier.samples["sample_id"], "split"].to_numpy()).all()
    assert tier.samples.groupby(["split", "compound"])["index"].agg(lambda x: list(x) == list(range(len(x)))).all()
    emetine = tier.samples[tier.samples["compound"] == "emetine"]
    assert set(emetine["plate"]) == set(PLATES)
    once = tier.rows("id_replicate")
    plain = dict(zip(once["plate"], tier.images(once).take(range(len(once))), strict=True))
    rows = tier.training_rows("id")
    assert set(rows["view"]) == set(range(VIEWS))
    images = tier.images(rows)
    for row, image in zip(rows.itertuples(), images.take(range(len(rows))), strict=True):
        np.testing.assert_array_equal(image, dihedral(plain[row.plate], row.view))
    assert images.digest() != tier.images(rows.assign(view=0)).digest()


def test_controls_answer_it_and_a_model_is_scored_on_it(built, tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "tiers").mkdir(parents=True)
    (tmp_path / "cache" / "tiers" / NAME).symlink_to(built)
    tier = load_tier(NAME)
    conditions = tier.conditions("id")
    for control in (FLOOR, VEHICLE, "mean-image"):
        made = load_model(control, tier, "cpu").generate(conditions, 0)
        assert made.shape == (len(conditions), 512, 512, 3)
    lite = "efficientnet_lite0"
    report = evaluate(
        "copycat", tier=tier, tracks=["id"], folder=tmp_path / "m", extractors=[lite], embedding=lite
    ).report
    assert (report.tier, report.submission.training_set) == (NAME, "own")
    assert {score.key: score.n for score in report.scores}[f"fd[{lite}]"] == len(conditions)
    assert f"id: {len(conditions)} of {len(conditions)} generated images copy real training images" in report.notes
    # Its real test images are training images, too, so that no share of copies is a copycat's.
    (copies,) = (score for score in report.scores if score.key == "train_copies")
    assert copies.value is None
    assert "of the real test images are training images in one of eight views" in copies.reason
