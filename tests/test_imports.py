"""What a command brings into memory before it needs it: seconds that a person would wait for."""

import gc
import json
import subprocess
import sys

import pytest

from flows.imports import uncollected

CORE = ("torch", "transformers", "timm", "torchvision", "peft", "mlflow", "prefect", "pandas", "numpy", "yaml")
LATER = ("transformers", "timm", "torchvision", "peft", "matplotlib", "sklearn", "datasets", "cleanlab", "captum")
OWN = {
    "flows.__main__",
    "flows.models",
    "flows.platform",
    "flows.platform.commands",
    "flows.quiet",
    "flows.timing",
    "tasks.frozen",
}
LOADED = """
from flows.quiet import hush
hush()
from tasks.compose import load
from tasks.results import Target
recipe = load({experiment!r}, [])
recipe.backbone.load(Target(labels=("bad", "good")), {{"text": ["one", "two"]}}, recipe.method.pretrained)
"""
STRANGERS = {
    "tickets_scratch": {"timm", "torchvision", "peft"},
    "tickets_lora": {"timm"},  # transformers' own models import torchvision
    "digits_scratch": {"transformers", "peft"},
}


def _modules(code: str) -> set[str]:
    """The modules that a fresh process has in memory after some code, which says nothing on stderr."""
    ending = "\nimport json, sys\nprint('\\n' + json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [("--help",), ("finetune", "--help"), ("serve", "--help"), ("up", "--help")])
def test_help_needs_no_library_that_computes_tracks_or_runs(words: tuple[str, ...]) -> None:
    found = _modules(
        f"import sys\nfrom flows.__main__ import main\nsys.argv = ['graft', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )

    assert "typer" in found
    assert found.isdisjoint(CORE + LATER)
    assert {name for name in found if name.startswith(("tasks.", "flows."))} == OWN


def test_a_fine_tune_is_imported_without_what_only_some_runs_or_its_end_need() -> None:
    found = _modules("import flows.finetune, flows.report")

    assert "torch" in found
    assert found.isdisjoint(LATER)


@pytest.mark.parametrize("experiment", STRANGERS)
def test_a_network_is_loaded_without_the_libraries_of_others_and_their_bars(experiment: str) -> None:
    found = _modules(LOADED.format(experiment=experiment))

    assert found.isdisjoint(STRANGERS[experiment])


def test_no_garbage_is_collected_while_modules_are_imported_and_it_is_after() -> None:
    with pytest.raises(ImportError), uncollected():
        assert not gc.isenabled()
        raise ImportError

    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    assert frozen > 0
    with uncollected():
        pass
    assert gc.get_freeze_count() <= frozen, "what came later may go"
    gc.unfreeze()
