"""The scores in plain words: what a lab head reads first."""

from __future__ import annotations

from dataclasses import dataclass

from morphobench.report.copying import copying_sentence, too_many_copies
from morphobench.report.reading import foremost, number, read, scale, span_text, standing, standing_beside
from morphobench.schema import Report, Score, Trivial
from morphobench.scoring.controls import VEHICLE, WRONG

HEADLINES = {
    "kd": "How real the crowd looks",
    "lda_separability": "Whether the mechanism shows",
    "area_occupied_shift": "Whether cells change size and number",
}
"""One sentence each on the foremost score of a row."""
UNREAD = 0.05
"""A swap gap without an interval that is no farther from 0 is told as a drug that is not read."""
NEAR = 0.9
"""A scaled value from here on is told as 'close to real replicates'."""


@dataclass(frozen=True)
class Sentence:
    """A claim and the question it answers; every number in it is in the score table."""

    question: str
    answer: str


def verdict(report: Report, track: str) -> list[Sentence]:
    """What the scores of one track say, in words; a question without a score is left out."""
    everything = [score for score in report.scores if score.track == track]
    scores = [score for score in everything if score.value is not None]
    images = [score for score in scores if read(score).family != "expression" and read(score).ranked]
    copies, refused = Sentence("Its own images?", copying_sentence(everything)), too_many_copies(scores)
    sentences = [Sentence("No place on a board", f"{refused[0].upper()}{refused[1:]}.")] if refused else []
    sentences += [copies] if refused else []
    sentences.append(Sentence("Better than no treatment?", _against_vehicle(images)))
    for row, question in HEADLINES.items():
        if first := foremost(scores, row):
            sentences.append(Sentence(question, _headline(first)))
    sentences.append(Sentence("Specific to the drug?", _against_wrong_compound(images)))
    sentences.append(Sentence("Does it read the drug?", _reliance(scores)))
    sentences += [] if refused else [copies]
    sentences.append(Sentence("Expression", _expression([s for s in scores if read(s).family == "expression"])))
    return [sentence for sentence in sentences if sentence.answer]


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
    sentence = f"{read(score).title} {_with_interval(score)}"
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
    specific = [score for score in scores if read(score).family in ("separability", "per compound", "morphology")]
    judged = [s for score in specific if (s := standing(score, score.controls.get(WRONG)))]
    if not judged:
        return ""
    better = judged.count("better")
    if better == 0:
        return f"No sign of it: real images of a wrong compound do as well on all {len(judged)} drug-specific scores."
    return f"Beats real images of a wrong compound on {better} of {len(judged)} drug-specific scores."


def _reliance(scores: list[Score]) -> str:
    """Whether images change when their drug is swapped, and how far on the way that real ones do."""
    gap = foremost(scores, "drug_swap_gap")
    if gap is None or gap.value is None:
        return ""
    low, high = gap.interval or (gap.value - UNREAD, gap.value + UNREAD)
    claim = f"{100 * gap.value:.0f}% of the way that real images do when the drug is swapped: {read(gap).title} "
    claim += _with_interval(gap)
    if low <= 0 <= high:
        return f"No sign of it. Images go {claim}."
    return f"{'Yes' if low > 0 else 'It reads it the wrong way round'}. Images go {claim}."


def _expression(scores: list[Score]) -> str:
    """The predicted expression against predictions that learn nothing: every score that one of them holds up with."""
    if not scores:
        return ""
    valued = [(score, [trivial for trivial in score.trivial if trivial.value is not None]) for score in scores]
    judged = [(score, trivial) for score, trivial in valued if trivial]
    if not judged:
        score = next((score for score in scores if score.metric != "lfc_pearson"), scores[0])
        return f"{read(score).title} {_with_interval(score)}; no trivial predictor was run beside it."
    held = [
        (score, [each for each in trivial if standing_beside(score, each) != "better"]) for score, trivial in judged
    ]
    held = [(score, trivial) for score, trivial in held if trivial]
    if not held:
        return f"Beats every trivial predictor on {_all(len(judged))}. {_best_beside(*judged[-1])}."
    opening = "Does not beat the trivial predictors" if len(held) == len(judged) else "Beats the trivial predictors on"
    if len(held) < len(judged):
        opening += f" {len(judged) - len(held)} of {len(judged)} scores only"
    return f"{opening}. {'. '.join(_best_beside(score, trivial) for score, trivial in held)}."


def _all(count: int) -> str:
    return "the one expression score" if count == 1 else f"all {count} expression scores"


def _best_beside(score: Score, trivial: list[Trivial]) -> str:
    """One score against the best of these trivial predictions."""
    sign = 1 if score.direction == "max" else -1
    best = max(trivial, key=lambda each: sign * (each.value or 0.0))
    words = {"better": "beats", "worse": "falls behind", "unclear": "does not clearly beat", None: "stands beside"}
    difference = f", difference {number(best.difference[0])} to {number(best.difference[1])}" if best.difference else ""
    claim = f"{words[standing_beside(score, best)]} {best.name} ({number(best.value)}{difference})"
    return f"{read(score).title} {_with_interval(score)} {claim}"
