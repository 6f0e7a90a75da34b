"""The page in an exported folder: what it is, how it is loaded, what goes in and what comes out."""

from tasks.export.libraries import Form, Library
from tasks.export.proof import TOLERANCE
from tasks.results import Registered, Target
from tasks.saved import Model

MEANINGS = {
    "class": "One label a row: the softmax of the logits gives the probabilities.",
    "multilabel": "Any number of labels a row: a logit's sigmoid is the label's probability.",
    "number": "One number a row: the output itself.",
}


def page(model: Model, library: Library, form: Form, source: Registered, name: str, rows: int) -> str:
    """README.md of the folder `name`, checked on so many rows."""
    limits = model.target.thresholds or ("",) * model.target.outputs
    outputs = enumerate(zip(model.target.names, limits, strict=True))
    names = "\n".join(f"- {index}: {label}{limit and f' ({limit:.6g})'}" for index, (label, limit) in outputs)
    return f"""# {source.name}, version {source.version}

{model.recipe.about or model.recipe.name}. From `{source.uri}` (MLflow run {source.run_id}), form `{form}`.

## Load it

From the folder above this one, or with this folder's path for `{name}`:

```python
{library.loading(model, form, name)}
```

A fresh process loaded it so; on {rows} rows of its data the logits were those of the registered model
(to {TOLERANCE[form]:g} of their size).

## In

{library.treatment(model)}

## Out

{MEANINGS[model.target.kind]} {_rule(model.target)}The outputs in their order:

{names}
"""


def _rule(target: Target) -> str:
    """How the answer follows from the probabilities, which the library that loads the folder does not know."""
    limits = "its threshold (in brackets)" if target.thresholds else ""
    if target.kind == "number":
        return ""
    if target.kind == "multilabel":
        return f"Answered is every label above {limits or 'a half'}. "
    by = f", divided by {limits}" if limits else ""
    none = (
        "" if target.abstain_below is None else f", and none where that is less probable than {target.abstain_below:g}"
    )
    return f"Answered is the label with the largest one{by}{none}. "
