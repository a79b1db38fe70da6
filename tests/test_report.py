"""The page is whole, asks nothing of the network, says SIMULATED, and lets no hostile text through."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from synthetic_report import evaluation, manifest, report

from morphobench.report import drawing
from morphobench.report.contents import DistanceFit
from morphobench.report.distributions import area_by_compound, area_violins
from morphobench.report.expression import enrichment_chart, lfc_heatmaps, predictor_table
from morphobench.report.maps import lda_map, umap_map
from morphobench.report.page import _facts, render, write_report
from morphobench.report.reading import foremost, number, read, scale, standing, standing_beside
from morphobench.report.verdict import verdict
from morphobench.schema import Report, Score, Trivial

VOID = {"meta", "img", "link", "br", "hr", "input"}
SIZES = {"compounds": 6, "images": 4}
"""Of the page that most tests look at."""
HOSTILE = '<script>alert(1)</script>" onload="x" {{ 7 * 7 }}'


class Page(HTMLParser):
    """Collects tags and attributes, and fails on a tag closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def loads(page: Page) -> list[str]:
    """Every address the page would fetch."""
    fetched = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if value and (name in ("src", "srcset", "poster", "data", "background") or (tag == "link" and name == "href"))
    ]
    return [address for address in fetched if not address.startswith("data:")]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    patch = pytest.MonkeyPatch()
    patch.setenv("MORPHOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def drawn() -> tuple[str, list[str]]:
    """The page, and every text that was drawn into a picture of it outside the axes."""
    texts: list[str] = []
    text, write = Figure.text, ImageDraw.ImageDraw.text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "text", lambda self, x, y, s, **k: (texts.append(s), text(self, x, y, s, **k))[1])
        patch.setattr(
            ImageDraw.ImageDraw, "text", lambda self, xy, s, **k: (texts.append(s), write(self, xy, s, **k))[1]
        )
        return render(evaluation(**SIZES)), texts


@pytest.fixture(scope="module")
def html(drawn: tuple[str, list[str]]) -> str:
    return drawn[0]


def test_page_is_well_formed_and_loads_nothing(html: str) -> None:
    page = Page(html)
    assert loads(page) == []
    assert "url(" not in html
    assert "@import" not in html
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed", "link")]
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert len(html) < 6_000_000


def test_every_picture_has_alt_text_and_caption(html: str) -> None:
    page = Page(html)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    # per track: six panel columns, LDA, UMAP, violins, area per compound, two heatmaps; one enrichment chart
    assert len(pictures) == 2 * 12 + 1
    assert all(len(picture["alt"] or "") > 20 for picture in pictures)
    assert sum(tag == "figcaption" for tag, _ in page.tags) == len(pictures)


def test_pictures_decode_at_twice_their_size_on_the_page(html: str) -> None:
    for attributes in (a for tag, a in Page(html).tags if tag == "img"):
        _, encoded = (attributes["src"] or "").split(",", 1)
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            assert picture.width // 2 == int(attributes["width"] or 0)


def test_simulated_is_said_at_the_top_and_drawn_into_every_picture(drawn: tuple[str, list[str]]) -> None:
    page, texts = drawn
    assert texts.count(drawing.STAMP) == page.count("<img ")
    assert page.index("SIMULATED") < page.index("<header>")


def test_the_line_to_infinity_is_drawn_with_its_numbers_and_a_bend_is_told() -> None:
    made = evaluation(compounds=2, images=2)
    sizes, distances = np.array([704, 352, 234.0]), np.array([3.0, 5.0, 7.0])
    fit = DistanceFit("sim_vit", sizes, distances, value=1.01, slope=1400.0, r2=0.9996)
    track = dataclasses.replace(made.tracks[0], panel=(), fits=(fit, dataclasses.replace(fit, r2=0.85)))
    text = render(dataclasses.replace(made, tracks=(track,)))
    assert text.count("3.00 at 704 and 1.01 at infinitely many") == 2
    assert text.count("read its end with care") == 1
    assert "3.00 at 704, 5.00 at 352, 7.00 at 234" in text


def test_real_tiers_bear_no_stamp() -> None:
    made = evaluation(simulated=False, compounds=2, images=2)
    cut = tuple(dataclasses.replace(track, panel=track.panel[:1], predicted_lfc=None) for track in made.tracks[:1])
    real = made.report.model_copy(update={"enrichment": ()})
    assert "SIMULATED" not in render(dataclasses.replace(made, tracks=cut, report=real))
    stamped, plain = (drawing.encode_figure(drawing.blank(1), simulated, "", "").uri for simulated in (True, False))
    assert stamped != plain


@pytest.mark.parametrize(
    ("sampler", "steps", "said"),
    [("ddim", 50, "ddim, 50 steps"), ("ddim", None, "ddim"), ("", 50, "50 steps"), ("", None, None)],
)
def test_what_made_the_numbers_is_said_where_it_is_known(sampler: str, steps: int | None, said: str | None) -> None:
    made = report(manifest(sampler=sampler, steps=steps, weights_sha256="c" * 64))
    facts = dict(_facts(made))
    assert facts.get("Sampler") == said
    assert facts["Weights file"] == "c" * 64
    assert "Weights file" not in dict(_facts(report(manifest())))


def test_hostile_text_is_escaped_everywhere() -> None:
    made = evaluation(compounds=6, images=3)
    hostile = manifest(method=HOSTILE, licence=HOSTILE, code="javascript:alert(1)", training_data=HOSTILE)
    rows = tuple(row.model_copy(update={"term": HOSTILE}) for row in made.report.enrichment)
    scores = tuple(score.model_copy(update={"reason": HOSTILE, "key": HOSTILE}) for score in made.report.scores)
    bad = made.report.model_copy(
        update={"submission": hostile, "enrichment": rows, "notes": (HOSTILE,), "scores": scores}
    )
    tracks = tuple(dataclasses.replace(track, title=HOSTILE) for track in made.tracks)
    page = render(dataclasses.replace(made, report=bad, tracks=tracks[:1]))
    assert not [tag for tag, _ in Page(page).tags if tag == "script"]
    assert "<script" not in page
    assert not re.search(r'href="(?!#)', page)
    assert "{{ 7 * 7 }}" in page


def test_table_shows_value_interval_n_floor_and_controls(html: str) -> None:
    score = evaluation().report.scores[0]
    words = " ".join(Page(html).words)
    for shown in (number(score.value), f"{score.n:,}", number(score.floor), number(score.controls["copycat"])):
        assert shown in words
    assert score.interval
    assert f"{number(score.interval[0])} to {number(score.interval[1])}" in words
    assert "Inception weights not given" in words


def test_write_report_writes_one_file_and_the_same_bytes_every_time(tmp_path: Path, html: str) -> None:
    path = write_report(evaluation(**SIZES), tmp_path / "new")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == html


def test_small_and_broken_arrays_leave_figures_out_instead_of_failing() -> None:
    track = evaluation(compounds=6, images=3).tracks[0]
    nothing = {part: np.full(18, np.nan) for part in track.generated_area}
    bare = dataclasses.replace(
        track,
        train_mechanisms=np.full(len(track.train_mechanisms), ""),
        generated_embedding=np.full_like(track.generated_embedding, np.nan),
        real_embedding=track.real_embedding[:2],
        vehicle_embedding=track.vehicle_embedding[:2],
        generated_area=nothing,
        real_area=nothing,
        vehicle_area={part: np.empty(0) for part in nothing},
        predicted_lfc=None,
    )
    assert lda_map(bare, True) is None
    assert umap_map(bare, True) is None
    assert area_violins(bare, True) is None
    assert area_by_compound(bare, True) is None
    assert lfc_heatmaps(bare, True) == []
    assert enrichment_chart((), "docetaxel", True) is None


def test_one_predicted_row_and_a_constant_one_are_drawn() -> None:
    track = evaluation(compounds=6, images=3).tracks[0]
    assert track.predicted_lfc is not None
    assert track.measured_lfc is not None
    one = dataclasses.replace(
        track,
        predicted_lfc=np.zeros_like(track.predicted_lfc[:1]),
        measured_lfc=track.measured_lfc[:1],
        lfc_compounds=track.lfc_compounds[:1],
    )
    assert len(lfc_heatmaps(one, False)) == 2


def score(value: float | None, half: float = 1.0, direction: str = "min", **fields: object) -> Score:
    interval = None if value is None else (value - half, value + half)
    given: dict[str, object] = {
        "key": "fd[x]",
        "metric": "fd",
        "features": "x",
        "version": 1,
        "track": "id",
        "value": value,
        "n": 9,
        "interval": interval,
        "unit": "",
    }
    return Score.model_validate(given | {"direction": direction} | fields)


def test_standing_needs_the_whole_interval_on_one_side() -> None:
    assert standing(score(5.0), 7.0) == "better"
    assert standing(score(5.0), 5.5) == "unclear"
    assert standing(score(5.0), 3.0) == "worse"
    assert standing(score(5.0, direction="max"), 3.0) == "better"
    assert standing(score(5.0, direction="target", target=5.5), 7.0) == "unclear"
    assert standing(score(5.0, direction="target", target=5.5), 9.0) == "better"
    assert standing(score(5.0, direction="none"), 3.0) is None
    assert standing(score(None), 3.0) is None


def test_scale_is_zero_at_vehicle_one_at_replicates_and_unclipped() -> None:
    made = score(5.0, floor=2.0, controls={"vehicle": 10.0}, scaled=0.625)
    assert [scale(made, value) for value in (10.0, 2.0, 6.0, 18.0, -6.0)] == [0.0, 1.0, 0.5, -1.0, 2.0]
    assert scale(score(5.0, floor=2.0), 5.0) is None
    # replicates no better than the vehicle: no scale, rather than one that turns worse into better
    assert scale(score(5.0, floor=10.0, controls={"vehicle": 2.0}), 5.0) is None
    assert scale(score(5.0, floor=2.0, controls={"vehicle": 2.0}), 5.0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (126.15, "126"),
        (49.77, "49.8"),
        (0.0132, "0.0132"),
        (-0.5, "−0.500"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_titles_keep_what_the_metric_looked_at_and_only_genuine_inception_is_called_fid() -> None:
    assert read(score(1.0, metric="fd", features="inception")).title == "FID"
    assert read(score(1.0, metric="fd", features="efficientnet_lite0")).title == "Fréchet distance (efficientnet_lite0)"
    area = score(1.0, metric="area_occupied_shift", part="nuclei_no_edge", features="")
    assert read(area).title == "AreaOccupied shift (nuclei, no edge objects)"
    engine = area.model_copy(update={"engine": "cellprofiler"})
    assert read(engine).title == "AreaOccupied shift (nuclei, no edge objects, cellprofiler)"
    assert (read(engine).family, read(engine).ranked, read(engine).summary) == ("morphology", True, read(area).summary)
    unknown = read(score(1.0, key="new_metric[x]", metric="new_metric"))
    assert (unknown.family, unknown.title, unknown.ranked) == ("other", "new_metric[x]", False)


def test_the_score_that_speaks_for_a_row_is_the_genuine_one_and_the_built_in_engines() -> None:
    lite, genuine = score(1.0, features="efficientnet_lite0"), score(2.0, features="inception")
    assert foremost([lite, genuine], "fd") is genuine
    assert foremost([lite], "fd") is lite
    assert foremost([lite, genuine], "kd") is None
    cells, nuclei = (score(3.0, metric="area_occupied_shift", part=part, features="") for part in ("cells", "nuclei"))
    other = cells.model_copy(update={"engine": "cellprofiler"})
    assert foremost([other, cells, nuclei], "area_occupied_shift") is cells
    assert foremost([other, cells, nuclei], "area_occupied_shift", "nuclei") is nuclei


def test_a_trivial_prediction_is_beaten_by_the_paired_interval_alone() -> None:
    def beside(difference: tuple[float, float] | None, value: float | None = 0.3) -> Trivial:
        return Trivial(name="lookup", value=value, difference=difference)

    made = score(0.4, direction="max")
    assert standing_beside(made, beside((0.05, 0.2))) == "better"
    assert standing_beside(made, beside((-0.05, 0.2))) == "unclear"
    assert standing_beside(made, beside((-0.2, -0.05))) == "worse"
    assert standing_beside(made, beside(None)) == "unclear"
    assert standing_beside(made, beside(None, value=None)) is None
    assert standing_beside(score(0.4, direction="min"), beside((0.05, 0.2))) == "worse"


def test_the_verdict_names_the_scores_that_a_trivial_prediction_holds_up_with() -> None:
    made = report(quality=1.0)
    scores = []
    for each in made.scores:
        beaten = Trivial(name="no change", value=0.0, difference=(0.5, 0.9))
        level = Trivial(name="lookup", value=0.7, difference=(-0.05, 0.06))
        trivial = {"lfc_pearson": (beaten,), "lfc_pearson_vehicle": (beaten, level)}.get(each.key, ())
        scores.append(each.model_copy(update={"trivial": trivial}))
    said = next(
        s.answer for s in verdict(made.model_copy(update={"scores": tuple(scores)}), "id") if "Exp" in s.question
    )
    assert said.startswith("Beats the trivial predictors on 1 of 2 scores only. LFC Pearson per compound 0.")
    assert "does not clearly beat lookup (0.700, difference −0.0500 to 0.0600)" in said
    bare = tuple(each.model_copy(update={"trivial": ()}) for each in scores)
    said = " ".join(s.answer for s in verdict(made.model_copy(update={"scores": bare}), "id"))
    assert "no trivial predictor was run beside it" in said


def test_the_table_shows_trivial_predictions_beside_the_model(html: str) -> None:
    scores = [each for each in report().scores if each.track == "id"]
    undefined = Trivial(name="lookup", value=None, reason="undefined for 54 of 54 compounds")
    scores = [s.model_copy(update={"trivial": (*s.trivial, undefined)}) if s.trivial else s for s in scores]
    table = predictor_table(scores, "trident")
    assert table is not None
    assert table.titles == ("LFC Pearson, pooled", "LFC Pearson per compound")
    assert [row.name for row in table.rows] == ["trident", "training mean", "nearest structure", "lookup"]
    assert table.rows[0].cells[0][0] == number(next(s.value for s in scores if s.key == "lfc_pearson"))
    assert table.rows[1].cells[0][0] == "0.300"
    assert table.rows[1].cells[0][1].startswith("beaten: 0.")
    assert table.rows[3].cells[0] == ("–", "undefined for 54 of 54 compounds")
    assert predictor_table([s.model_copy(update={"trivial": ()}) for s in scores], "trident") is None
    words = " ".join(Page(html).words)
    assert "beside predictors that learn nothing" in words


def copying(**values: float | None) -> Report:
    """A report with these rows of memorisation and reliance on the `id` track."""
    made = report(quality=1.0)
    rows = tuple(
        score(
            value,
            half=0.01,
            key=row,
            metric=row,
            features="",
            reason="" if value is not None else "cannot be told",
            floor=0.07,
        )
        for row, value in values.items()
    )
    return made.model_copy(update={"scores": (*made.scores, *rows)})


def test_the_verdict_opens_with_copies_that_cost_the_place() -> None:
    first, second, *rest = verdict(copying(train_copies=1.0, duplicates=0.2, near_copies=1.0), "id")
    assert first.answer == (
        "100% of its images are copies of training images and 20% of its images are repeated; at most 5% may be."
    )
    assert "no place" in first.question.lower()
    assert second.answer.startswith("100% of the images are copies of training images; 20% of the images are repeated")
    assert rest[0].question == "Better than no treatment?"


def test_the_verdict_says_that_images_are_the_models_own() -> None:
    first, *rest = verdict(copying(train_copies=0.0, duplicates=0.0, near_copies=0.067), "id")
    assert first.question == "Better than no treatment?"
    (said,) = (s.answer for s in rest if s.question == "Its own images?")
    assert said == (
        "None is a copy of a training image; none is repeated; 6.7% lie as near to training images as the nearest 5% "
        "of test images, of real replicates 7%."
    )
    (said,) = (s.answer for s in verdict(copying(train_copies=None), "id") if s.question == "Its own images?")
    assert said == "Copies are not counted (cannot be told)."
    assert not any(s.question == "Its own images?" for s in verdict(report(), "id"))


def test_the_verdict_says_whether_the_drug_is_read() -> None:
    def said(value: float) -> str:
        (answer,) = (s.answer for s in verdict(copying(drug_swap_gap=value), "id") if s.question.endswith("the drug?")
                     and "read" in s.question)  # fmt: skip
        return answer

    assert said(0.004).startswith("No sign of it. Images go 0% of the way that real images do when the drug is swapped")
    assert said(0.94).startswith("Yes. Images go 94% of the way")
    assert said(-0.3).startswith("It reads it the wrong way round")


def test_verdict_follows_the_scores() -> None:
    def said(quality: float) -> str:
        return " ".join(sentence.answer for sentence in verdict(report(quality=quality), "id"))

    assert "Kernel distance" in said(1.0)
    assert "Fréchet" not in said(1.0)
    assert "Close to real replicates" in said(1.0)
    assert "Beats every trivial predictor on all 2 expression scores" in said(1.0)
    assert "beats nearest structure (0.340, difference 0.3" in said(1.0)
    assert "no nearer" in said(0.0).lower() or "further from" in said(0.0).lower()
    assert "No sign of it" in said(0.0)
    assert "Does not beat the trivial predictors." in said(0.0)
    assert "falls behind nearest structure (0.340, difference −0.3" in said(0.0)
    assert "falls behind them" in said(-1.0)
