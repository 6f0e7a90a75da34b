"""The page that goes with a model: what it was made of, what it scored, how to load it."""

from collections.abc import Iterator, Sequence

from tasks.recipe import Recipe
from tasks.results import Checkpoint, Measured, Prepared, Scorecard, Target

SHOWN = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of the confidences below which a model might abstain


def model_card(recipe: Recipe, data: Prepared, trained: Checkpoint, card: Scorecard) -> str:
    """Markdown; every figure in it comes from the receipts."""
    rows = ", ".join(f"{count} {split}" for split, count in data.rows.items())
    share = trained.trained_weights / trained.total_weights
    seen = f"Did the trunk's pretraining see this data? {card.pretraining_overlap.capitalize()}."
    seen += "" if recipe.method.pretrained else " Nothing was pretrained."
    begun = "pretrained weights" if recipe.method.pretrained else "random weights"
    begun = f"what run {recipe.start_from} trained outside its head" if recipe.start_from else begun
    scores = [(name, f"{one.value:.4f}", _interval(one)) for name, one in card.metrics.items()]
    classes = [
        (row["label"], *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")), f"{row['rows']:.0f}")
        for row in card.classes
    ]
    parts = [
        (one.by, one.name, one.rows, f"{one.metric} {one.score.value:.4f}", _interval(one.score)) for one in card.parts
    ]
    fitted = "".join(f"{line}\n\n" for line in _decided(card, trained.target))
    return f"""# {recipe.model}: {recipe.name}, seed {recipe.seed}

- Data: {data.origin}; rows: {rows}; test rows' hash {card.test_hash}.
- Backbone: {recipe.backbone.library}; {recipe.backbone.about or "see the run's parameters"}
- {seen}
- Method: {recipe.method.kind}; {trained.trained_weights:,} weights trained \
({share:.2%} of {trained.total_weights:,}): {trained.adapter_weights:,} outside the head, \
{trained.head_weights:,} in it.
- Training: {trained.epochs} epochs, {trained.steps} steps, {trained.seconds:.0f} s; the weights of epoch \
{trained.best_epoch} are kept, with {trained.validation:.4f} on validation rows carved from train.
- Start: {begun}.
- Recipe's fingerprint: {recipe.fingerprint}.

{_table(("test score", "value", "95 % interval over the rows"), scores)}\
{_table(("class", "precision", "recall", "F1", "rows"), classes)}\
{_table(("part of the test rows", "", "rows", "score", "95 % interval"), parts)}\
{fitted}{_covered(trained)}\
Load it with `mlflow.pyfunc.load_model("models:/{recipe.model}/N")`, N being its version's number, or ask it with \
`graft predict {recipe.model} --version N`; `models:/{recipe.model}@champion` and no `--version` are the champion. It \
needs no network. What the gate said of it is in the run's `verdict.json`.

Limits: the intervals cover the choice of test rows, not the seed, and not data unlike the test rows.
"""


def _interval(score: Measured) -> str:
    return f"{score.low:.4f} to {score.high:.4f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A table and an empty line; nothing where it has no rows."""
    lines = [head, ("---",) * len(head), *rows] if rows else []
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines) + ("\n" if rows else "")


def _decided(card: Scorecard, target: Target) -> Iterator[str]:
    """How answers are told from the network's numbers, in sentences."""
    if target.temperature != 1:
        yield (
            f"Temperature {target.temperature:.3f}, fitted on the validation rows. The head's weights are divided "
            "by it, so that every probability is told with it."
        )
    if card.calibration_error is not None:
        before = "" if target.temperature == 1 else f" ({card.raw_calibration_error:.4f} without the temperature)"
        yield f"Expected calibration error on the test rows: {card.calibration_error:.4f}{before}."
    if target.thresholds:
        named = ", ".join(f"{label} {value:.3f}" for label, value in zip(target.names, target.thresholds, strict=True))
        yield (
            f"Thresholds, tuned on the validation rows: {named}. On the test rows {card.headline} is "
            f"{card.score.value:.4f} with them and {card.untuned:.4f} without."
        )
    if target.abstain_below is not None:
        yield (
            f"Where its answer has a probability below {target.abstain_below:g} it gives no label: coverage is the "
            "share of the rows that it answers, selective_accuracy is of those; all other scores are of its likeliest "
            "answers to all rows."
        )


def _covered(trained: Checkpoint) -> str:
    """What abstaining would cost and gain, on validation rows: the test rows are not there to choose by."""
    chosen = {*SHOWN, trained.target.abstain_below}
    rows: list[tuple[object, ...]] = [
        (f"{one.below:g}", f"{one.coverage:.1%}", f"{one.accuracy:.4f}")
        for one in trained.covered
        if one.below in chosen
    ]
    return _table(("abstain_below, on the validation rows", "answered", "accuracy of those"), rows)
