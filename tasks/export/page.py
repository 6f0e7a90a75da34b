"""The page in an exported folder: what it is, how it is loaded, what goes in and what comes out."""

from tasks.export.libraries import Form, Library
from tasks.export.proof import TOLERANCE
from tasks.results import Registered
from tasks.saved import Model

MEANINGS = {
    "class": "One label a row: the softmax of the logits gives the probabilities, the largest is the answer.",
    "multilabel": "Any number of labels a row: a logit's sigmoid is the label's probability, those above a half are "
    "the answer.",
    "number": "One number a row: the output itself.",
}


def page(model: Model, library: Library, form: Form, source: Registered, name: str, rows: int) -> str:
    """README.md of the folder `name`, checked on so many rows."""
    names = "\n".join(f"- {index}: {label}" for index, label in enumerate(model.target.names))
    return f"""# {source.name}, version {source.version}

{model.recipe.about or model.recipe.name}. From `{source.uri}` (MLflow run {source.run_id}), form `{form}`.

## Load it

From the folder above this one, or with this folder's path for `{name}`:

```python
{library.loading(model, form, name)}
```

A fresh process loaded it so; on {rows} rows of its data the logits were those of the registered model
(to {TOLERANCE[form]:g}).

## In

{library.treatment(model)}

## Out

{MEANINGS[model.target.kind]} The outputs in their order:

{names}
"""
