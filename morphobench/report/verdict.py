"""The scores in plain words: what a lab head reads first."""

from __future__ import annotations

from dataclasses import dataclass

from morphobench.report.reading import REPLICATES, VEHICLE, number, read, scale, span_text, standing
from morphobench.schema import Report, Score

HEADLINES = (
    (("kid", "kd"), "How real the crowd looks"),
    (("lda_separability",), "Whether the mechanism shows"),
    (("area_occupied_shift",), "Whether cells change size and number"),
)
"""One sentence each on the first score whose key is one of these, brackets aside."""
NEAR = 0.9
"""A scaled value from here on is told as 'close to real replicates'."""


@dataclass(frozen=True)
class Sentence:
    """A claim and the question it answers; every number in it is in the score table."""

    question: str
    answer: str


def verdict(report: Report, track: str) -> list[Sentence]:
    """What the scores of one track say, in words; a question without a score is left out."""
    scores = [score for score in report.scores if score.track == track and score.value is not None]
    images = [score for score in scores if read(score.key).family != "expression" and read(score.key).ranked]
    found = [Sentence("Better than no treatment?", _against_vehicle(images))]
    for stems, question in HEADLINES:
        first = next((score for stem in stems for score in scores if score.key.partition("[")[0] == stem), None)
        if first:
            found.append(Sentence(question, _headline(first)))
    found.append(Sentence("Specific to the drug?", _against_wrong_compound(images)))
    found.append(Sentence("Expression", _expression([s for s in scores if read(s.key).family == "expression"])))
    return [sentence for sentence in found if sentence.answer]


def _against_vehicle(scores: list[Score]) -> str:
    standings = [standing(score, score.controls.get(VEHICLE)) for score in scores]
    judged = [verdict for verdict in standings if verdict]
    if not judged:
        return ""
    better, worse = judged.count("better"), judged.count("worse")
    near = sum(1 for score in scores if (at := scale(score, score.value)) is not None and at >= NEAR)
    opening = f"Beats vehicle images on {better} of {len(judged)} ranked image scores"
    opening += f", falls behind them on {worse}" if worse else ""
    reached = f"{near} of them come{'s' if near == 1 else ''}" if near else "none comes"
    return f"{opening}; {reached} close to real replicates."


def _headline(score: Score) -> str:
    position = scale(score, score.value)
    sentence = f"{read(score.key).title} {_with_interval(score)}"
    if score.floor is not None:
        sentence += f"; real replicates {number(score.floor)}"
    if (vehicle := score.controls.get(VEHICLE)) is not None:
        sentence += f", vehicle {number(vehicle)}"
    return f"{_distance(position)}. {sentence}." if position is not None else f"{sentence}."


def _with_interval(score: Score) -> str:
    return f"{number(score.value)} ({span_text(score)})" if score.interval else number(score.value)


def _distance(position: float) -> str:
    """A scaled value (0 vehicle, 1 real replicates) in words."""
    if position >= 1.05:
        return "Beyond real replicates, which asks for a look at copying"
    if position >= NEAR:
        return "Close to real replicates"
    if position > 0.05:
        return f"{100 * position:.0f}% of the way from vehicle to real replicates"
    return f"{'No nearer to' if position > -0.05 else 'Further from'} real replicates than vehicle is"


def _against_wrong_compound(scores: list[Score]) -> str:
    """Whether the images are drug-specific: better than real images of another compound."""
    specific = [score for score in scores if read(score.key).family in ("separability", "per compound", "morphology")]
    judged = [s for score in specific if (s := standing(score, score.controls.get("wrong-compound")))]
    if not judged:
        return ""
    better = judged.count("better")
    if better == 0:
        return f"No sign of it: real images of a wrong compound do as well on all {len(judged)} drug-specific scores."
    return f"Beats real images of a wrong compound on {better} of {len(judged)} drug-specific scores."


def _expression(scores: list[Score]) -> str:
    """The predicted expression against the best prediction that learns nothing, on the strictest score present."""
    if not scores:
        return ""
    score = next((score for score in scores if score.key != "lfc_pearson"), scores[0])
    trivial = {name: value for name, value in score.controls.items() if name != REPLICATES and value is not None}
    sentence = f"{read(score.key).title} {_with_interval(score)}"
    if not trivial:
        return f"{sentence}; no trivial predictor was run beside it."
    sign = 1 if score.direction == "max" else -1
    best = max(trivial, key=lambda name: sign * trivial[name])
    words = {"better": "Beats", "worse": "Falls behind", "unclear": "Does not clearly beat", None: "Stands beside"}
    claim = f"{words[standing(score, trivial[best])]} the best trivial predictor ({best}, {number(trivial[best])})"
    return f"{claim}. {sentence}."
