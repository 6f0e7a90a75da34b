"""The rule for replacing the champion, and its verdict. Works on evidence alone: numbers, no model."""

from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from tasks.corruptions import Corruption, known
from tasks.evidence import Evidence
from tasks.frozen import Frozen, GraftError
from tasks.metrics import score
from tasks.paired import SHARES, Estimate, difference, mcnemar, split_votes
from tasks.results import Outcome, Reason, Verdict
from tasks.slices import BY_CLASS, BY_LENGTH, metric_of_part

FEWEST = 100  # rows, below which the bootstrap's bounds err too often (make gate-table)


class Slice(Frozen):
    """Rows that are looked at by themselves, so that a better whole does not hide a worse part."""

    by: str = Field(
        description="class, length (thirds of the texts by their characters), or a column of the data set's `slices`"
    )
    margin: float = Field(0.0, ge=0, description="how far below the champion's score is still no worse")
    rows: int = Field(50, ge=1, description="a slice with fewer test rows is not judged")


class Gate(Frozen):
    """What a candidate must show, on the same test rows as the champion, to replace it.

    PROMOTE: all of it is shown. REJECT: something is shown to be bad (worse than the champion, below the floor, over a
    limit). HOLD: neither; more test rows may tell. With the defaults, of candidates that are only as good as the
    champion at most 1 - confidence are promoted.
    """

    about: str = ""
    test_rows: str = Field("", description="freezes them: their hash, from a model's card; other test rows are refused")
    floor: float | None = Field(None, description="the headline's score must reach this")
    margin: float = Field(
        0.0, ge=0, description="how far below the champion is still no worse; 0: it must be shown to be better"
    )
    superiority: float | None = Field(
        None, ge=0, description="it must be shown to be better than the champion by more than this, whatever the margin"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of everything that is said to be shown")
    slices: tuple[Slice, ...] = Field((), description="parts of the rows in which it must not be shown to be worse")
    calibration: float | None = Field(None, gt=0, le=1, description="the expected calibration error must not exceed it")
    milliseconds: float | None = Field(
        None, gt=0, description="95 of 100 single rows must be answered so fast on a CPU"
    )
    megabytes: float | None = Field(None, gt=0, description="the saved model's files must not be larger, all together")
    robustness: dict[Corruption, float] = Field(
        {}, description="by how much the score may fall under typos (texts), blur, noise or jpeg (pictures)"
    )

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if bad := [f"{kind}: {fall}" for kind, fall in self.robustness.items() if not 0 <= fall <= 2]:
            raise ValueError(f"robustness {bad[0]} is how far the score may fall, at least 0")
        return self

    def check_fit(self, target: str, accepts: str, columns: tuple[str, ...]) -> None:
        """Whether data of this kind have what the gate asks for.

        Raises:
            ValueError: they have not; the error says what is valid.
        """
        valid = [BY_CLASS] * (target == "class") + [BY_LENGTH] * (accepts == "text") + list(columns)
        for one in self.slices:
            if one.by not in valid:
                raise ValueError(f"gate slices by {one.by!r}, which this data set lacks. Valid: {', '.join(valid)}")
        if odd := [kind for kind in self.robustness if kind not in known(accepts)]:
            raise ValueError(f"gate robustness {odd[0]!r} is not for {accepts}. Valid: {', '.join(known(accepts))}")
        if self.calibration and target != "class":
            raise ValueError(f"gate calibration is for one class a row, but the data set's target is {target!r}")

    def check_rows(self, test_hash: str) -> None:
        """Whether these are the test rows that the gate freezes, if it does.

        Raises:
            GraftError: they are others.
        """
        if self.test_rows not in ("", test_hash):
            raise GraftError(
                f"The gate freezes the test rows {self.test_rows}, but the data give {test_hash} now. Bring the rows "
                "back, or write the new hash in the gate: scores before and after are then of different tests."
            )

    def judge(self, candidate: Evidence, champion: Evidence | None, against: int | None = None) -> Verdict:
        """Look at everything that the gate names.

        Args:
            candidate: what it showed.
            champion: what the champion showed, now, on the same rows; None if there is none.
            against: the champion's version.

        Raises:
            GraftError: the two were scored on different rows or by different metrics.
        """
        reasons = [*self._floor(candidate), *self._limits(candidate, champion), *self._falls(candidate, champion)]
        if champion is None:
            reasons.append(Reason(about="champion", outcome="passed", told="There is no champion yet."))
        elif (champion.card.test_hash, champion.card.headline) != (candidate.card.test_hash, candidate.card.headline):
            raise GraftError("The champion was scored on other rows or by another metric: the two cannot be compared.")
        else:
            reasons = [self._whole(candidate, champion), *reasons, *self._slices(candidate, champion)]
        card = candidate.card
        return Verdict(judged=tuple(reasons), against=against, test_hash=card.test_hash, rows=card.rows)

    def _floor(self, candidate: Evidence) -> Iterator[Reason]:
        if self.floor is not None:
            name, got = candidate.card.headline, candidate.card.score.value
            reached = got >= self.floor
            told = f"{name} {got:.4f} {'reaches' if reached else 'is below'} the floor {self.floor:.4f}."
            yield Reason(about="floor", outcome=_passed(reached), told=told, candidate=got)

    def _whole(self, candidate: Evidence, champion: Evidence) -> Reason:
        name, truth = candidate.card.headline, candidate.truth
        got, held = candidate.card.score.value, champion.card.score.value
        found = difference(name, truth, candidate.predicted, champion.predicted, self.confidence)
        bound = -self.margin if self.superiority is None else self.superiority
        outcome: Outcome = "passed" if found.low > bound else "open"
        if found.high < -self.margin:
            outcome = "failed"
        if few := name not in SHARES and len(truth) < FEWEST:
            outcome = "open"
        wanted = f"better by more than {bound:.4f}" if bound > 0 else "better"
        wanted = f"no worse (margin {self.margin:.4f})" if bound < 0 else wanted
        said = {
            "passed": f"is {wanted}",
            "failed": f"is worse{f' (margin {self.margin:.4f})' if self.margin else ''}",
            "open": f"is not shown to be {wanted}",
        }[outcome]
        told = (
            f"{name} {got:.4f} {said}: the champion has {held:.4f} on the same {candidate.card.rows:,} test rows, "
            f"{_between(found, self.confidence)}{_votes(name, candidate, champion)}"
            f"{f'; fewer than {FEWEST} rows show nothing by the bootstrap' if few else ''}."
        )
        return _reason(name, outcome, told, got, held, found)

    def _slices(self, candidate: Evidence, champion: Evidence) -> Iterator[Reason]:
        """Each slice; so many looks share the chance of an error (Bonferroni)."""
        parts = [
            (one, f"{one.by} {part}", rows) for one in self.slices for part, rows in candidate.slices[one.by].items()
        ]
        metric = _metric(candidate)
        least = 0 if metric in SHARES else FEWEST
        judged = sum(int(rows.sum()) >= max(one.rows, least) for one, _, rows in parts)
        confidence = 1 - (1 - self.confidence) / max(1, judged)
        for one, name, rows in parts:
            if rows.sum() < max(one.rows, least):
                told = f"{name} has {int(rows.sum())} test rows: below {max(one.rows, least)} it is not judged."
                yield Reason(about=name, outcome="not judged", told=told)
                continue
            truth, own, other = candidate.truth[rows], candidate.predicted[rows], champion.predicted[rows]
            found = difference(metric, truth, own, other, confidence)
            worse = found.high < -one.margin
            got, held = score(metric, truth, own), score(metric, truth, other)
            told = (
                f"{name}: {metric} {got:.4f} is {'' if worse else 'not shown to be '}worse than the champion's "
                f"{held:.4f} on {int(rows.sum()):,} rows, {_between(found, confidence)}."
            )
            yield _reason(name, _passed(not worse), told, got, held, found)

    def _limits(self, candidate: Evidence, champion: Evidence | None) -> Iterator[Reason]:
        names, forms = ("calibration error", "milliseconds a row", "megabytes"), (".4f", ".1f", ",.1f")
        limits = (self.calibration, self.milliseconds, self.megabytes)
        champions = _figures(champion) if champion else (None, None, None)
        for about, form, limit, got, held in zip(names, forms, limits, _figures(candidate), champions, strict=True):
            if limit is not None:
                within = got <= limit
                told = f"{about.capitalize()}: {got:{form}} is {'within' if within else 'over'} {limit:{form}}."
                yield Reason(about=about, outcome=_passed(within), told=told, candidate=got, champion=held)

    def _falls(self, candidate: Evidence, champion: Evidence | None) -> Iterator[Reason]:
        name = candidate.card.headline
        for kind, most in self.robustness.items():
            truth, clean = candidate.truth[candidate.asked], candidate.predicted[candidate.asked]
            found = difference(name, truth, candidate.corrupted[kind], clean, self.confidence)
            got = score(name, truth, candidate.corrupted[kind])
            held = score(name, truth, champion.corrupted[kind]) if champion else None
            fell = found.high < -most
            told = (
                f"With {kind}, {name} on {len(truth):,} rows is {got:.4f} instead of {got - found.value:.4f}: that is "
                f"{'' if fell else 'not shown to be '}a fall by more than {most:.4f} "
                f"({_between(found, self.confidence)})."
            )
            yield _reason(kind, _passed(not fell), told, got, held, found)


def _reason(about: str, outcome: Outcome, told: str, got: float, held: float | None, found: Estimate) -> Reason:
    return Reason(about=about, outcome=outcome, told=told, candidate=got, champion=held, low=found.low, high=found.high)


def _passed(good: bool) -> Outcome:
    return "passed" if good else "failed"


def _figures(shown: Evidence) -> tuple[float, float, float]:
    return shown.card.calibration_error or 0.0, shown.milliseconds, shown.megabytes


def _metric(shown: Evidence) -> str:
    kind = "multilabel" if shown.truth.ndim == 2 else "class" if shown.card.classes else "number"
    return metric_of_part(kind, shown.card.headline)


def _between(found: Estimate, confidence: float) -> str:
    sure = f"each with {100 * confidence:.4g} % confidence"
    return f"a difference of {found.value:+.4f} (above {found.low:+.4f} and below {found.high:+.4f}, {sure})"


def _votes(name: str, candidate: Evidence, champion: Evidence) -> str:
    if name not in SHARES:
        return ""
    own, other = split_votes(candidate.truth, candidate.predicted, champion.predicted)
    return (
        f"; {own:,} rows it alone has right, {other:,} the champion alone (exact McNemar p = {mcnemar(own, other):.2g})"
    )
