"""GLUE's official download in small: each file with the columns, labels and oddities of the real one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.datasets.glue import Glue
from tasks.runtime import package_folder

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
FOLDERS = dict(zip(TASKS, ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI"), strict=True))

_PARSES = ["sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"]
_MNLI = ["index", "promptID", "pairID", "genre", *_PARSES, "sentence1", "sentence2"]
_STSB = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
_PAIR, _VOTES = ["index", "sentence1", "sentence2"], ["label1", "label2", "label3", "label4", "label5", "gold_label"]
_AX = ["Lexical Semantics", "Predicate-Argument Structure", "Logic", "Knowledge", "Domain", "Premise", "Hypothesis"]
# The columns of every file; None where a file has no header.
FILES: dict[str, dict[str, list[str] | None]] = {
    "cola": {"train": None, "dev": None, "test": ["index", "sentence"]},
    "sst2": {"train": ["sentence", "label"], "test": ["index", "sentence"]},
    "mrpc": {"train": ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
             "test": ["index", "#1 ID", "#2 ID", "#1 String", "#2 String"]},
    "stsb": {"train": [*_STSB, "score"], "test": _STSB},
    "qqp": {"train": ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
            "test": ["id", "question1", "question2"]},
    "mnli": {"train": [*_MNLI, "label1", "gold_label"], "dev_matched": [*_MNLI, *_VOTES],
             "dev_mismatched": [*_MNLI, *_VOTES], "test_matched": _MNLI, "test_mismatched": _MNLI,
             "diagnostic": _PAIR, "diagnostic-full": [*_AX, "Label"]},
    "qnli": {"train": ["index", "question", "sentence", "label"], "test": ["index", "question", "sentence"]},
    "rte": {"train": [*_PAIR, "label"], "test": _PAIR},
    "wnli": {"train": [*_PAIR, "label"], "test": _PAIR},
}  # fmt: skip
LABELS: dict[str, list[str]] = {name: ["0", "1"] for name in ("cola", "sst2", "mrpc", "qqp", "wnli")} | {
    "stsb": ["0.000", "2.500", "5.000"],
    "mnli": ["entailment", "neutral", "contradiction"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["entailment", "not_entailment"],
}
TEXTS = {"sentence", "question", "sentence1", "sentence2", "question1", "question2", "#1 String", "#2 String",
         "Premise", "Hypothesis", "4"}  # fmt: skip
TOLD = {"label", "Quality", "score", "is_duplicate", "gold_label", "Label", "2"}  # columns with the label
ODD = ['He said "no', "it 's 'fine'", "one\u2028line", "next\x85to\x85it", "lone\rreturn", "NA", "  spaced  ", "ünï ¢"]
WORDS = ["red", "green", "blue", "cyan", "pink", "grey"]  # which of them a row holds tells its label, of two or three


def columns(task: str, stem: str) -> list[str]:
    """A file's columns; those of a file without header are numbers."""
    return FILES[task].get(stem, FILES[task]["train"]) or ["1", "2", "3", "4"]


def row(task: str, stem: str, number: int, text: str | None = None) -> list[str]:
    """The cells of a row. Its texts hold the file's name and the number, so that no two are alike."""
    labels, cells = LABELS[task], []
    for place, column in enumerate(columns(task, stem)):
        if column in TEXTS:
            cells.append(text or f"{ODD[number % len(ODD)]} {WORDS[number % 6]} {stem} {number}.{place}")
        elif column in TOLD:
            cells.append(labels[number % len(labels)])
        else:
            cells.append(str(number) if column in ("index", "id") else "" if column == "3" else f"x{number}")
    return cells


def write(
    file: Path, rows: Sequence[Sequence[str]], header: Sequence[str] | None, end: str = "\n", bom: str = ""
) -> None:
    """A TSV whose cells are written as they are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(cells) for cells in ([header] if header else []) + list(rows)]
    file.write_bytes((bom + "".join(line + end for line in lines)).encode())


def write_task(root: Path, task: str, sizes: Mapping[str, int], end: str = "\n", bom: str = "") -> Path:
    """The task's folder below `root`/glue, each file with so many rows (12 if not given)."""
    folder = root / "glue" / FOLDERS[task]
    for stem in {"train": None, "dev": None, **FILES[task]}:
        if stem == "dev" and task == "mnli":
            continue
        rows = [row(task, stem, number) for number in range(sizes.get(stem, 12))]
        write(folder / f"{stem}.tsv", rows, FILES[task].get(stem, FILES[task]["train"]), end, bom)
    return folder


def config(task: str) -> dict[str, Any]:
    """The task's file in `configs/datasets`."""
    content: dict[str, Any] = yaml.safe_load((package_folder("configs") / "datasets" / f"{task}.yaml").read_text())
    return content


def glue(task: str, **changes: Any) -> Glue:
    """The task's data set; its files may have any number of rows unless the counts are among the changes."""
    return Glue.model_validate(config(task) | {"counts": {}} | changes)
