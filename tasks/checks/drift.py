"""Whether the training rows differ from those that the champion was trained on, by a small summary of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.checks import looks
from tasks.checks.subject import Subject
from tasks.findings import Finding

SAMPLED = 5_000  # rows of train; pictures are opened for `looks.OPENED` of them
POINTS = 101  # percentiles kept of each measure
UNLIKELY = 0.001  # the p-value below which a difference is no chance
SHIFT, ASSOCIATION = 0.1, 0.1  # below these a difference is small: the KS statistic; Cramer's V

MEASURES = {
    "words": "words a text",
    "characters": "characters a text",
    "short_side": "pixels of the shorter side",
    "shape": "longer by shorter side",
    "brightness": "brightness",
    "target": "the number to predict",
}


def summary(subject: Subject) -> dict[str, Any]:
    """What to keep of training rows to compare later ones with: numbers and class names, no text.

    Returns:
        `rows`; `classes` (rows by class) or nothing for a number; `measures`: for each its `rows` and 101
        `percentiles`.
    """
    labels, target = subject.rows("train").labels, subject.data.target
    measures = _texts(subject) if subject.is_text else _pictures(subject)
    kept: dict[str, Any] = {"rows": len(labels), "classes": {}}
    if target.labels is None:
        measures["target"] = labels
    else:
        counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(target.labels))
        kept["classes"] = dict(zip(target.labels, map(int, counts), strict=True))
    at = np.linspace(0, 100, POINTS)
    kept["measures"] = {
        name: {"rows": len(values), "percentiles": [round(float(v), 4) for v in np.percentile(values, at)]}
        for name, values in measures.items()
    }
    return kept


def _texts(subject: Subject) -> dict[str, NDArray[Any]]:
    texts, places = subject.texts["train"], subject.spread("train", SAMPLED)
    return {"words": texts.words[places], "characters": texts.characters[places]}


def _pictures(subject: Subject) -> dict[str, NDArray[Any]]:
    sizes = looks.sizes(subject, "train", SAMPLED)
    return {
        "short_side": sizes.short,
        "shape": sizes.long / sizes.short,
        "brightness": looks.spans(subject, "train").means,
    }


def drift(now: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Finding:
    """The differences between two summaries that are both beyond chance and large enough to matter.

    Measures are compared by the Kolmogorov-Smirnov statistic (above 0.1, p below 0.001, asymptotic), class shares by
    the chi-square test with Cramer's V (above 0.1): with many rows every difference is beyond chance.

    Args:
        now: the rows at hand.
        champion: the rows that the champion was trained on, if there is one and its summary was kept.
    """
    if champion is None:
        return Finding(check="drift", severity="skipped", about="Skipped: there is no champion with a summary.")
    told = [_classes(now["classes"], champion["classes"])]
    told += [
        _measure(name, own, champion["measures"][name])
        for name, own in now["measures"].items()
        if name in champion["measures"]
    ]
    found = [part for part in told if part]
    if not found:
        return Finding(
            check="drift", severity="ok", about="The training rows are like those that the champion was trained on."
        )
    return Finding(
        check="drift",
        severity="warning",
        count=len(found),
        about=f"The training rows differ from the champion's: {'; '.join(found)}.",
        next_step="Make sure that it is meant, and that the test rows changed with them.",
    )


def _measure(name: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    from scipy.stats import ks_2samp, kstwobign

    own, other = np.array(now["percentiles"]), np.array(then["percentiles"])
    apart = float(ks_2samp(own, other).statistic)
    chance = float(kstwobign.sf(apart * np.sqrt(now["rows"] * then["rows"] / (now["rows"] + then["rows"]))))
    if apart < SHIFT or chance >= UNLIKELY:
        return ""
    middle = POINTS // 2
    return f"{MEASURES[name]} {other[middle]:.4g} then, {own[middle]:.4g} now (medians; KS {apart:.2f})"


def _classes(now: Mapping[str, int], then: Mapping[str, int]) -> str:
    from scipy.stats import chi2_contingency

    names = sorted(name for name in {*now, *then} if now.get(name, 0) + then.get(name, 0))
    if new := sorted(set(now) ^ set(then)):
        return f"classes that only one of them has: {', '.join(new[:5])}"
    if len(names) < 2:
        return ""
    table = np.array([[now[name] for name in names], [then[name] for name in names]])
    found = chi2_contingency(table)
    strength = float(np.sqrt(found.statistic / table.sum()))  # two rows: Cramer's V is phi
    if strength < ASSOCIATION or found.pvalue >= UNLIKELY:
        return ""
    shares = table / table.sum(1, keepdims=True)
    most = int(np.abs(shares[0] - shares[1]).argmax())
    return (
        f"{names[most]!r} had {shares[1, most]:.1%} of the rows, now {shares[0, most]:.1%} (Cramer's V {strength:.2f})"
    )
