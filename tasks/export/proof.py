"""The proof of an exported folder: loaded in a fresh process by plain libraries, it answers as the saved model does."""

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from tasks import fresh
from tasks.export.libraries import LIBRARIES
from tasks.frozen import GraftError
from tasks.results import Target
from tasks.rounding import apart
from tasks.rows import inputs_of

TOLERANCE = {"adapter": 1e-5, "merged": 1e-4}  # to merge is to add and round once more in every layer


def prove(folder: Path, library: str, form: str, target: Target, work: Path, hub: bool) -> None:
    """Load a folder in a new process and compare it with what `verify.keep` noted in `work`.

    With `hub` the process has the hub and its cache: the adapter's base is there.

    Raises:
        GraftError: it does not load, or its logits or label names differ.
    """
    words = (str(folder), library, form, target.model_dump_json(), str(work))
    if wrong := fresh.run("tasks.export.proof", *words, hub=hub):
        raise GraftError(f"The exported folder failed its check and is not kept: {wrong}")


def main(folder: str, library: str, form: str, target: str, work: str) -> None:
    """The check itself, in the new process; what is wrong ends it."""
    _compare(Path(folder), library, form, Target.model_validate_json(target), Path(work))


def _compare(folder: Path, library: str, form: str, target: Target, work: Path) -> None:
    rows, wanted = pd.read_parquet(work / "probe.parquet"), load_file(work / "probe.safetensors")["logits"]
    loads = LIBRARIES[library]
    ask = loads.ask_merged if form == "merged" else loads.ask_adapter
    got, names = ask(folder, inputs_of(rows))
    if names != target.names:
        raise SystemExit(f"its label names are {names}, those of the data {target.names}.")
    far = float(apart(wanted, got).max())
    if not far <= TOLERANCE[form]:
        raise SystemExit(f"its logits differ by {far:.2g} from those of the model (allowed {TOLERANCE[form]}).")
