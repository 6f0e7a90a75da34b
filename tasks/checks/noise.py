"""Labels that look wrong: confident learning over a linear probe's cross-validated probabilities."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.checks.features import features
from tasks.checks.subject import Subject, of, share, some
from tasks.findings import Finding

PROBED, PICTURES, FEWEST = 1000, 400, 200  # rows of the sample: texts, pictures, and at least of either
WEIGHTS = 50_000_000  # a larger trunk looks at fewer rows
PER_CLASS, FOLDS = 10, 5  # rows of a class in the sample where there are many classes; parts of the cross-validation
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # of the probe: the inverse of its weight decay
UNLIKELY = 0.2  # times the likeliest class's probability
TELLING = 2 / 3  # of the errors of always saying the commonest class, at most
SUSPECT = 0.02  # of the sample


class Probe(NamedTuple):
    """A linear probe's answers on rows that it was not fitted on.

    Attributes:
        probabilities: [N, K].
        accuracy: of the likeliest class.
    """

    probabilities: NDArray[np.float64]
    accuracy: float


def label_noise(subject: Subject) -> Finding:
    """Suspected wrong labels in a stratified sample of the training rows.

    Suspect is what cleanlab's `find_label_issues` (confident learning: Northcutt, Jiang and Chuang, 2021) marks and
    the probe finds five times less likely than another class. A probe that errs two thirds as often as who always says
    the commonest class, or more, tells nothing: the check is skipped.
    """
    name, target = "label_noise", subject.data.target
    if target.kind != "class":
        return subject.finding(name, "skipped", f"Skipped: it is for one class a row, and target is {target.kind}.")
    labels = subject.rows("train").labels
    places, left = stratified(labels, _size(subject))
    own = labels[places]
    if len(np.unique(own)) < 2:
        return subject.finding(
            name, "skipped", f"Skipped: in a sample of {len(places):,} rows fewer than two classes have {FOLDS} rows."
        )
    found, kind = features(subject, subject.rows("train").table(places.tolist()))
    probe = probed(found, np.unique(own, return_inverse=True)[1])
    scope = f"a sample of {len(places):,} training rows, by a linear probe on {kind}"
    if left:
        scope += f" ({some(left, 'class', 'classes')} with fewer than {FOLDS} rows in it left out)"
    usual = np.unique(own, return_counts=True)[1].max() / len(own)
    if 1 - probe.accuracy > TELLING * (1 - usual):
        return subject.finding(
            name, "skipped", f"Skipped: in {scope}, accuracy is {probe.accuracy:.2f} where the commonest class alone "
            f"gives {usual:.2f}: it tells nothing.",
        )  # fmt: skip
    suspects = places[suspected(np.unique(own, return_inverse=True)[1], probe.probabilities)]
    scope += f" of accuracy {probe.accuracy:.2f}"
    if not len(suspects):
        return subject.finding(name, "ok", f"No label is suspect in {scope}.")
    return subject.finding(
        name,
        "warning" if len(suspects) > SUSPECT * len(places) else "note",
        f"{some(len(suspects), 'label')} ({share(len(suspects), len(places))}) suspect in {scope}: "
        "wrong ones, or hard rows.",
        "Look at these rows, the most suspect first, and mend what is wrong.",
        len(suspects),
        of({"train": suspects}),
    )


def _size(subject: Subject) -> int:
    most = PROBED if subject.is_text else PICTURES
    if not subject.pretrained:
        return PROBED
    weights = sum(weight.numel() for weight in subject.network.module.parameters())
    return int(np.clip(most * WEIGHTS / weights, FEWEST, most))


def stratified(labels: NDArray[Any], size: int) -> tuple[NDArray[np.int64], int]:
    """Places of a sample of about `size` rows, and how many classes it leaves out.

    The rows come by chance as they lie (by the hash of their content). Where there are too many classes for ten rows
    each, evenly spread ones are taken; a class with fewer than five rows in the sample is left out.
    """
    classes = np.unique(labels)
    most = max(2, size // PER_CLASS)
    chosen = classes[np.unique(np.linspace(0, len(classes) - 1, min(len(classes), most)).astype(int))]
    rows = [np.flatnonzero(labels == own) for own in chosen]
    portion = min(1.0, size / sum(map(len, rows)))
    rows = [own[: max(min(PER_CLASS, len(own)), int(len(own) * portion))] for own in rows]
    kept = [own for own in rows if len(own) >= FOLDS]
    places = np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)
    return places, len(classes) - len(kept)


def probed(features: Any, labels: NDArray[np.int64]) -> Probe:
    """Cross-validated answers [N, K] of logistic regression, its strength chosen by their log loss.

    Args:
        features: [N, D], dense or sparse.
        labels: [N] of 0 .. K - 1, each at least five times.
    """
    from scipy.sparse import issparse
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    factor = 10.0 if issparse(features) else 1.0  # words are not scaled
    best, answers = np.inf, np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that is nearly fitted says as much
        for strength in STRENGTHS:
            model: Any = LogisticRegression(C=strength * factor, max_iter=200)
            model = model if issparse(features) else make_pipeline(StandardScaler(), model)
            found = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
            if (loss := log_loss(labels, found)) < best:
                best, answers = loss, found
    return Probe(answers, float((answers.argmax(1) == labels).mean()))


def suspected(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows whose label is suspect, the most suspect first."""
    from cleanlab.filter import find_label_issues

    marked = find_label_issues(labels, probabilities, n_jobs=1)
    own = probabilities[np.arange(len(labels)), labels] / probabilities.max(1)
    rows = np.flatnonzero(marked & (own < UNLIKELY))
    return rows[np.argsort(own[rows], kind="stable")]
