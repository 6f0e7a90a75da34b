"""The rule for replacing the champion, and its verdict. Works on scorecards alone."""

from pydantic import Field

from tasks.frozen import Frozen, GraftError
from tasks.results import Scorecard, Verdict


class Gate(Frozen):
    """A floor, and no worse than the champion on the same test rows."""

    about: str = ""
    floor: float | None = Field(None, description="the headline's score must reach this")
    margin: float = Field(0.0, ge=0, description="how far below the champion's score is still no worse")

    def judge(self, candidate: Scorecard, champion: Scorecard | None) -> Verdict:
        """Compare the headline's scores.

        Raises:
            GraftError: the two were scored on different rows or by different metrics.
        """
        name, got = candidate.headline, candidate.score.value
        passed, reasons = True, []
        if self.floor is not None:
            passed = got >= self.floor
            reasons.append(f"{name} {got:.4f} {'reaches' if passed else 'is below'} the floor {self.floor:.4f}.")
        if champion is None:
            reasons.append("There is no champion yet.")
            return Verdict(passed=passed, reasons=tuple(reasons))
        if (champion.test_hash, champion.headline) != (candidate.test_hash, name):
            raise GraftError("The champion was scored on other rows or by another metric: the two cannot be compared.")
        held = champion.score.value
        no_worse = held - got <= self.margin + 1e-12  # 0.8 - 0.7 is not quite 0.1 in floating point
        reasons.append(
            f"{name} {got:.4f} is {'no worse' if no_worse else 'worse'} than the champion's {held:.4f} "
            f"(margin {self.margin:.4f}) on the same {candidate.rows} test rows."
        )
        return Verdict(passed=passed and no_worse, reasons=tuple(reasons))
