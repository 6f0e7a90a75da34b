"""Tiny things to train: random networks in folders, forty rows of text, two dozen pictures, one database.

A plugin of fixtures, PYTEST_DONT_REWRITE: it asserts nothing.
"""

import csv
import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tasks import tracking
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.results import Prepared, Target
from tasks.train import Training

TARGET = Target(labels=("bad", "good"), raw=("bad", "good"))
WORDS = {"bad": ["awful", "poor", "sad", "slow"], "good": ["fine", "great", "glad", "quick"]}
FILLERS = ["the", "a", "film", "play", "was", "and", "is", "very", "so", "it"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<eos>"]

# Each by the name that tests use; the paths lie in the zoo's folder.
BACKBONES: dict[str, dict[str, Any]] = {
    "encoder": {"library": "transformers", "weights": "bert", "max_length": 16},
    "wordy encoder": {"library": "transformers", "weights": "wordy", "max_length": 16},
    "gpt2": {"library": "transformers", "weights": "gpt2", "max_length": 16},
    "llama": {"library": "transformers", "weights": "llama", "max_length": 16},
    "cnn": {"library": "timm", "name": "test_efficientnet", "weights": "cnn", "image_size": 64},
    "vit": {"library": "timm", "name": "test_vit", "weights": "vit", "image_size": 96},
    "scratch transformer": {
        "library": "scratch_transformer", "vocabulary": 120, "max_length": 16, "width": 16, "heads": 2,
    },
    "scratch cnn": {"library": "scratch_cnn", "image_size": 16, "channels": 3},
}  # fmt: skip


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of 3 to 12 words with their label, which one of the words gives away."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        label = ("bad", "good")[index % 2]
        words = [*rng.choice(FILLERS, rng.integers(2, 12)), rng.choice(WORDS[label])]
        made.append((" ".join(rng.permutation(words)), label))
    return made


def experiment_in(folder: Path, zoo: Path) -> None:
    """Write `mine.yaml` and its 120 rows into a folder, which GRAFT_DATA must be: a tiny encoder learns two words."""
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *sentences(120)])
    weights = {"kind": "folder", "path": str(zoo / "bert")}
    experiment = {
        "dataset": {"kind": "table", "path": "rows.csv", "labels": ["bad", "good"]},
        "backbone": {"library": "transformers", "weights": weights, "max_length": 16},
        "method": "lora", "model": "mine", "schedule": {"epochs": 2, "batch_size": 16},
    }  # fmt: skip
    (folder / "mine.yaml").write_text(yaml.safe_dump(experiment))


def tokenizer(kind: str) -> Any:
    """A tokenizer of whole words: for an encoder a pair has two segments; a decoder's cannot pad."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = [*SPECIAL, *FILLERS, *WORDS["bad"], *WORDS["good"]]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind not in {"bert", "wordy"}:
        return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="<eos>")
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=names, **marks)


def text_model(kind: str) -> Any:
    """A random network of three layers, its weights large enough for rows to differ."""
    import transformers as hf

    words = {"vocab_size": len(SPECIAL) + len(FILLERS) + 8, "initializer_range": 0.2}
    if kind == "gpt2":
        ends = {"bos_token_id": 4, "eos_token_id": 4}
        return hf.GPT2LMHeadModel(hf.GPT2Config(n_positions=32, n_embd=32, n_layer=3, n_head=2, **words, **ends))
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    shape |= {"max_position_embeddings": 32}
    if kind in {"bert", "wordy"}:  # most of a wordy one's words are in no row
        return hf.BertModel(hf.BertConfig(**words | ({"vocab_size": 90} if kind == "wordy" else {}), **shape))
    return hf.LlamaForCausalLM(hf.LlamaConfig(eos_token_id=4, **words, **shape))


def pictures(folder: Path, count: int = 12) -> None:
    """Noise in two classes, reddish and bluish, each fourth picture grey."""
    rng = np.random.default_rng(0)
    for label, channel in (("bad", 0), ("good", 2)):
        (folder / "train" / label).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 128, (72, 80, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            image = Image.fromarray(pixels)
            (image.convert("L") if index % 4 == 0 else image).save(folder / "train" / label / f"{index}.png")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the random networks, `rows.csv`, `pairs.csv` and `pictures`."""
    import timm
    from timm.models import save_for_hf

    root = tmp_path_factory.mktemp("zoo")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for kind in ("bert", "gpt2", "llama"):
            text_model(kind).save_pretrained(root / kind)
            tokenizer(kind).save_pretrained(root / kind)
        options = {"img_size": 96, "dynamic_img_size": False}  # not the architecture's: only its config tells
        for name, kind, own in (("cnn", "test_efficientnet", {}), ("vit", "test_vit", options)):
            module = timm.create_model(kind, num_classes=7, **own)
            norms: list[Any] = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
            for norm in norms:
                torch.nn.init.normal_(norm.running_mean, std=0.2)  # as pretraining leaves it: not what a new one has
                torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
            save_for_hf(module, str(root / name), model_args=own, safe_serialization=True)
        text_model("wordy").save_pretrained(root / "wordy")
        tokenizer("wordy").save_pretrained(root / "wordy")
    rows = sentences(40)
    (root / "rows.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    pictures(root / "pictures")
    return root


@pytest.fixture(scope="session")
def tracking_db(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite database for all tests: to make one takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        tracking.client().search_experiments(max_results=1)
    return uri


@dataclass
class Bench:
    """Makes recipes over the zoo and starts them."""

    zoo: Path
    home: Path

    def backbone(self, name: str, /, **changes: Any) -> dict[str, Any]:
        """A backbone's description with the path of its weights."""
        spec = BACKBONES[name] | changes
        if isinstance(spec.get("weights"), str):
            spec["weights"] = {"kind": "folder", "path": str(self.zoo / spec["weights"])}
        return spec

    def recipe(self, name: str, method: dict[str, Any], seed: int = 0, **schedule: Any) -> Recipe:
        """Batches of 8 on 24 rows of text or 14 pictures; three steps unless the schedule says otherwise."""
        backbone = self.backbone(name)
        text = backbone["library"] in {"transformers", "scratch_transformer"}
        source = {"kind": "table", "path": "rows.csv"} if text else {"kind": "image_folder", "path": "pictures"}
        source["path"] = str(self.zoo / source["path"])
        steps = {"epochs": 1, "batch_size": 8 if text else 5, "warmup": 0.0}
        parts = {"dataset": source | {"validation": 0.2}, "backbone": backbone, "method": method}
        return Recipe.model_validate(
            {"name": "tiny", "model": "tiny", "seed": seed, "schedule": steps | schedule} | parts
        )

    def start(self, recipe: Recipe) -> tuple[Prepared, Path, str]:
        """The rows, a folder to work in and a run in MLflow."""
        data = prepare("tiny", recipe.dataset, recipe.seed)
        work = self.home / recipe.fingerprint
        work.mkdir(parents=True, exist_ok=True)
        return data, work, tracking.begin(recipe, data, work / "run_id")

    def training(self, recipe: Recipe) -> Training:
        """The recipe ready to `run`."""
        data, work, run_id = self.start(recipe)
        return Training(recipe, data, work, run_id)


@pytest.fixture
def bench(zoo: Path, tracking_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An own home for each test; one core, no workers."""
    settings = {"GRAFT_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": tracking_db}
    for name, value in (settings | {"GRAFT_DEVICE": "cpu", "GRAFT_WORKERS": "0"}).items():
        monkeypatch.setenv(name, value)
    return Bench(zoo, tmp_path)


# Processes to kill: forked from one that has everything imported but has computed nothing.

FILE_LIMIT = "GRAFT_TEST_FILE_LIMIT"  # bytes
PRELOAD = [
    "tasks.train",
    "peft",
    "timm",
    "timm.data",
    "sklearn.metrics",
    "mlflow.store.tracking.sqlalchemy_store",
]
MODELS = ["transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto"]


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    """Where `start_training` starts; the server's imports are paid once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, *MODELS])
    return context


def start_training(forks: ForkServerContext, recipe: Recipe, place: tuple[Prepared, Path, str]) -> ForkServerProcess:
    """Train in a process that can be killed; it exits with 0 at the end, with 3 after a GraftError."""
    data, work, run_id = place
    (work / "order.json").write_text(
        json.dumps([recipe.model_dump_json(), data.model_dump_json(), str(work), run_id, dict(os.environ)])
    )
    process = forks.Process(target=train_as_ordered, args=(str(work / "order.json"),))
    process.start()
    return process


def train_as_ordered(order: str) -> None:
    """What the process does; a GraftError's text goes to `refused.txt`."""
    from tasks.frozen import GraftError
    from tasks.train import alone, train

    recipe, data, work, run_id, environment = json.loads(Path(order).read_text())
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    if limit := environment.get(FILE_LIMIT):  # the nearest to a full disk that a test can have
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        with alone(Path(work)):
            train(Recipe.model_validate_json(recipe), Prepared.model_validate_json(data), Path(work), run_id)
    except GraftError as error:
        (Path(work) / "refused.txt").write_text(str(error))
        os._exit(3)


def close(got: torch.Tensor, wanted: torch.Tensor, largest: float | None = None) -> bool:
    """To 1e-5, or to 1e-5 of the largest where that is above 1: a sum of many terms that nearly cancel is no nearer.

    The largest is that of `wanted` if it is not given.
    """
    size = float(wanted.abs().max()) if largest is None else largest
    return torch.allclose(got, wanted, rtol=1e-5, atol=1e-5 * max(1.0, size))


def differing(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], names: Iterable[str]) -> set[str]:
    """Those of the names whose tensors are not equal to the bit."""
    return {name for name in names if not torch.equal(one[name], two[name])}
