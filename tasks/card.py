"""The page that goes with a model: what it was made of, what it scored, how to load it."""

from tasks.recipe import Recipe
from tasks.results import Checkpoint, Prepared, Scorecard


def model_card(recipe: Recipe, data: Prepared, trained: Checkpoint, card: Scorecard) -> str:
    """Markdown; every figure in it comes from the receipts."""
    scores = "\n".join(f"| {name} | {m.value:.4f} | {m.low:.4f} to {m.high:.4f} |" for name, m in card.metrics.items())
    classes = "\n".join(
        f"| {row['label']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['rows']} |"
        for row in card.classes
    )
    table = f"\n| class | precision | recall | F1 | rows |\n|---|---|---|---|---|\n{classes}\n" if classes else ""
    calibration = f"Expected calibration error: {card.calibration_error:.4f}.\n" if card.calibration_error else ""
    rows = ", ".join(f"{count} {split}" for split, count in data.rows.items())
    share = trained.trained_weights / trained.total_weights
    begun = "pretrained weights" if recipe.method.pretrained else "random weights"
    begun = f"what run {recipe.start_from} trained outside its head" if recipe.start_from else begun
    return f"""# {recipe.model}: {recipe.name}, seed {recipe.seed}

- Data: {data.origin}; rows: {rows}; test rows' hash {card.test_hash}.
- Backbone: {recipe.backbone.library}; {recipe.backbone.about or "see the run's parameters"}
- Did the trunk's pretraining see this data? {card.pretraining_overlap.capitalize()}.
- Method: {recipe.method.kind}; {trained.trained_weights:,} weights trained \
({share:.2%} of {trained.total_weights:,}): {trained.adapter_weights:,} outside the head, \
{trained.head_weights:,} in it.
- Training: {trained.epochs} epochs, {trained.steps} steps, {trained.seconds:.0f} s; the weights of epoch \
{trained.best_epoch} are kept, with {trained.validation:.4f} on validation rows carved from train.
- Start: {begun}.
- Recipe's fingerprint: {recipe.fingerprint}.

| test score | value | 95 % interval over the rows |
|---|---|---|
{scores}

{calibration}{table}
Load it with `mlflow.pyfunc.load_model("models:/{recipe.model}@champion")`, or ask it with \
`graft predict {recipe.model}`. It needs no network.

Limits: the interval covers the choice of test rows, not the seed, and not data unlike the test rows.
"""
