"""The comparison in plain words, which claim no more than its intervals and p-values show."""

from tasks.comparison.table import Beside, Comparison, Line
from tasks.paired import Estimate


def answer(comparison: Comparison) -> str:
    """The answer in one sentence, of the lines with the most training rows."""
    if not comparison.top:
        return "No run is finished, so there is nothing to compare."
    place = f"With {comparison.top[0].rows:,} training rows, " if len(comparison.groups) > 1 else ""
    return place + _answer(comparison, *comparison.top)


def _answer(comparison: Comparison, best: Line, *others: Line) -> str:
    good = [line for line in others if line.standing == "as good"]
    if good:
        return against(min(good, key=_trained), comparison)
    told = f"{best.method} has the highest {comparison.metric}, {score(best)}"
    equal = [line for line in others if line.standing == "open"]
    if equal:
        names = _listed([line.method for line in equal])
        return f"{told}, but {names} cannot be told apart from it with {_evidence(comparison, equal)}."
    return f"{told}: better than {_listed([line.method for line in others])}." if others else f"{told}."


def _trained(line: Line) -> int:
    return line.costs.outside + line.costs.head if line.costs else 0


def against(line: Line, comparison: Comparison) -> str:
    """What may be said of a line against the best one with as many training rows, and what it costs beside it."""
    best = next(other for other in comparison.lines if other.limit == line.limit)
    if line.apart is None:
        return f"{line.method} has no finished seed that {best.method} has too: the two cannot be compared."
    margin = f"{comparison.margin:g} points"
    small = f", by less than {margin}" if 100 * line.apart.low > -comparison.margin else ""
    judged = {
        "worse": f"is worse than {best.method} here ({points(line.apart)}{small})",
        "as good": f"is as good as {best.method} here, within {margin} ({points(line.apart)})",
        "open": f"cannot be told apart from {best.method} with {_evidence(comparison, [line])} ({points(line.apart)})",
    }
    return f"{line.method} {judged[line.standing]}, {_price(line, best)}."


def lines(comparison: Comparison) -> list[str]:
    """A sentence for each line with as many training rows as the answer speaks of."""
    told = []
    limit = (comparison.top or comparison.lines)[0].limit
    for line in (line for line in comparison.lines if line.limit == limit):
        if line.score is None:
            told.append(f"{line.method} has no finished run.")
        elif line.standing == "best":
            told.append(f"{line.method} has the highest {comparison.metric}: {score(line)}.")
        else:
            told.append(against(line, comparison))
    return told


def notes(comparison: Comparison) -> list[str]:
    """What must be said with the table."""
    scored = [line for line in comparison.lines if line.score]
    told = []
    if any(line.seeds == 1 or line.paired == 1 for line in scored):
        told.append("One seed: the interval holds the chance of the test rows alone, not that of the training.")
    if short := [line.method for line in comparison.lines if line.seeds < line.wanted]:
        told.append(f"Not all seeds are done: {_listed(list(dict.fromkeys(short)))}.")
    if comparison.beside:
        told.append(_beside(comparison.beside, sum(line.seeds for line in comparison.lines)))
    if comparison.overlap == "yes":
        told.append("The trunk's pretraining saw this data: what starts from its weights shows no transfer here.")
    if comparison.overlap == "unknown":
        told.append("It is not known whether the trunk's pretraining saw this data (part_of, pretrained_on).")
    return told


def _beside(own: Beside, runs: int) -> str:
    """That seconds are not those of a training alone."""
    threads = f", {own.threads} thread{'' if own.threads == 1 else 's'} each" if own.threads else ""
    if own.runs == runs:
        return f"The runs trained {own.jobs} at once{threads}: their seconds are longer than alone."
    return (
        f"{own.runs} of {runs} runs trained up to {own.jobs} at once{threads}: "
        "their seconds are longer than alone, and cannot be compared with those of the others."
    )


def score(line: Line) -> str:
    """Times 100, with its interval; of a line that has one."""
    if line.score is None:
        return "-"
    return f"{100 * line.score.value:.1f} ({100 * line.score.low:.1f} to {100 * line.score.high:.1f})"


def points(apart: Estimate) -> str:
    """A difference in points with its interval."""
    return f"{100 * apart.value:+.1f}, from {100 * apart.low:+.1f} to {100 * apart.high:+.1f} points"


def signed(apart: Estimate | None) -> str:
    """The same for a table's cell."""
    if apart is None:
        return "-"
    return f"{100 * apart.value:+.1f} ({100 * apart.low:+.1f} to {100 * apart.high:+.1f})"


def share(value: float) -> str:
    """A share in per cent, with two digits where it is small."""
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"


def _price(line: Line, best: Line) -> str:
    if line.costs is None or best.costs is None:
        return "with costs that were not kept"
    ratio = line.costs.seconds / best.costs.seconds
    same = 0.95 < ratio < 1.05
    took = "as long" if same else f"{ratio:.2g} of the training time" if ratio < 1 else f"{ratio:.2g} times as long"
    return f"trains {share(line.costs.share)} of the weights and takes {took}"


def _evidence(comparison: Comparison, over: list[Line]) -> str:
    """The rows and seeds that a judgement stands on: the fewest of these lines."""
    seeds = min(line.paired for line in over)
    return f"{comparison.test_rows:,} test rows and {seeds} seed{'' if seeds == 1 else 's'}"


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
