"""The GLUE leaderboard's zip: one file of answers for each of its test sets, from one saved model for each task.

The format is the leaderboard's own (gluebenchmark.com, FAQ and sample submission): a flat zip of eleven TSV files with
the columns `index` and `prediction`; the words of the training files where labels are words (MNLI, QNLI, RTE, AX),
0 and 1 where they are numbers, and for STS-B a score from 0 to 5.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tasks import compose, runtime, saved
from tasks.backbones.network import logits_of
from tasks.datasets.glue import INDEX, Glue
from tasks.files import write_file
from tasks.frozen import Frozen, GraftError
from tasks.objective import answers
from tasks.recipe import Recipe
from tasks.results import Target
from tasks.rows import inputs_of
from tasks.screen import bar, counting

LOWEST, HIGHEST = 0.0, 5.0  # of STS-B
Answers = list[tuple[str, str]]  # index and prediction


class Sheet(Frozen):
    """One of the leaderboard's files: its task, how many rows it has, what it may say, and what is said unasked."""

    task: str
    rows: int
    labels: frozenset[str] | None
    fill: str


class Entry(Frozen):
    """A saved model that takes part."""

    ref: str
    folder: Path
    dataset: Glue
    target: Target


class Submission(Frozen):
    """What was written: the zip, the note beside it, and for every file who answered it (None: nobody, a constant)."""

    file: Path
    note: Path
    answered_by: dict[str, str | None]
    rows: dict[str, int]
    fills: dict[str, str]


def sheets() -> dict[str, Sheet]:
    """The leaderboard's files by name, as the data sets in `configs/` describe them."""
    found = {}
    for name in compose.names("datasets"):
        file = compose.find("datasets", name)
        raw = compose.read(file)
        if raw.get("kind") == "glue":
            dataset: Glue = compose.check(Glue, raw, str(file))
            labels = frozenset(dataset.labels) if dataset.labels else None
            for sheet, part in dataset.board.items():
                found[sheet] = Sheet(task=name, rows=dataset.counts[sheet], labels=labels, fill=part.fill)
    return found


def submit(folders: Mapping[str, Path], out: Path, fill: bool = False) -> Submission:
    """Answer every test set and write the zip, whole or not at all, and a note beside it.

    Args:
        folders: saved models, each by the name that its user knows it by; one for each task.
        out: the zip's path; the note's is the same with the ending .README.txt.
        fill: whether files that no model answers are filled with a constant.

    Raises:
        GraftError: before anything is computed, if a model is of no GLUE task or does not fit its files, if two answer
            one file, if a file is missing and `fill` is not set, or if a test set has not the leaderboard's rows.
    """
    if out.suffix != ".zip" or not out.absolute().parent.is_dir():
        raise GraftError(f"{str(out)!r} cannot be written: give a path ending in .zip, in a folder that exists.")
    board = sheets()
    entries = [_entry(ref, folder, board) for ref, folder in folders.items()]
    answered_by = _answered_by(entries, board)
    if (missing := [sheet for sheet, ref in answered_by.items() if ref is None]) and not fill:
        raise GraftError(
            f"No model answers {', '.join(missing)}, and the leaderboard takes all {len(board)} files. Give a run of "
            f"{', '.join(dict.fromkeys(board[sheet].task for sheet in missing))} with its test files in place, "
            "or --fill for constant answers."
        )
    texts = {sheet: _text(_constant(board[sheet])) for sheet in missing}
    for entry in entries:
        _check_rows(entry, board)
    for entry in entries:
        texts |= {sheet: _text(found) for sheet, found in _answer(entry, board).items()}
    made = Submission(
        file=out,
        note=out.with_suffix(".README.txt"),
        answered_by=answered_by,
        rows={sheet: board[sheet].rows for sheet in board},
        fills={sheet: board[sheet].fill for sheet in missing},
    )
    write_file(made.note, note(made).encode())
    write_file(out, _zipped({f"{sheet}.tsv": texts[sheet] for sheet in board}))
    return made


def note(made: Submission) -> str:
    """What the zip holds, in words."""
    lines = [f"{made.file.name}: answers to GLUE's test sets, written by `graft submission`.", ""]
    for sheet, ref in made.answered_by.items():
        told = f"answered by {ref}" if ref else f"NO MODEL: every row says {made.fills[sheet]!r}, a constant"
        lines.append(f"{sheet}.tsv  {made.rows[sheet]:,} rows, {told}")
    if made.fills:
        lines += ["", f"The scores of {', '.join(made.fills)} say nothing of any model, and so the average does not."]
    return "\n".join(lines) + "\n"


def _entry(ref: str, folder: Path, board: Mapping[str, Sheet]) -> Entry:
    """The model's description without its weights, if it can take part."""
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    target = Target.model_validate_json((folder / "target.json").read_text())
    dataset = recipe.dataset
    if not isinstance(dataset, Glue) or not dataset.board:
        tasks = ", ".join(dict.fromkeys(sheet.task for sheet in board.values()))
        raise GraftError(f"{ref!r} is a model of {recipe.model!r}, which is no GLUE task. Give models of: {tasks}.")
    for name in dataset.board:
        if name not in board:
            raise GraftError(
                f"{ref!r} answers {name!r}, which the leaderboard does not have. Valid: {', '.join(board)}."
            )
        wanted = board[name].labels
        if (None if target.labels is None else frozenset(target.raw)) != wanted:
            own, valid = ", ".join(target.raw) or "a number", ", ".join(sorted(wanted or ())) or "a number"
            raise GraftError(f"{ref!r} answers {own}, but {name}.tsv takes {valid}. Give a run of {board[name].task}.")
    return Entry(ref=ref, folder=folder, dataset=dataset, target=target)


def _answered_by(entries: list[Entry], board: Mapping[str, Sheet]) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(board)
    for entry in entries:
        for sheet in entry.dataset.unlabelled():
            if (other := found[sheet]) is not None:
                raise GraftError(f"{other!r} and {entry.ref!r} both answer {sheet}.tsv. Give one run for each task.")
            found[sheet] = entry.ref
    return found


def _check_rows(entry: Entry, board: Mapping[str, Sheet]) -> None:
    """Read every test set once, before minutes are spent on answers that the leaderboard would not take."""
    for name, chunks in entry.dataset.unlabelled().items():
        with counting(f"read {name}") as shown:
            rows, seen = 0, set()
            for chunk in chunks():
                rows += len(chunk)
                seen.update(chunk[INDEX])
                shown.advance(steps=len(chunk))
        if not rows == len(seen) == board[name].rows:
            raise GraftError(
                f"The test set of {name} has {rows:,} rows with {len(seen):,} different indices, but the leaderboard's "
                f"has {board[name].rows:,} of both. Get the official file again."
            )


def _answer(entry: Entry, board: Mapping[str, Sheet]) -> dict[str, Answers]:
    """The model's answers to each of its test sets."""
    model = saved.load(entry.folder)
    model.network.module.to(runtime.device())
    found: dict[str, Answers] = {}
    for name, chunks in entry.dataset.unlabelled().items():
        found[name] = []
        with bar(name, board[name].rows) as shown:
            for chunk in chunks():
                logits = logits_of(model.network, inputs_of(chunk), done=lambda rows: shown.advance(steps=rows))
                if not logits.isfinite().all():
                    raise GraftError(f"{entry.ref!r} answers rows of {name} with no number at all. Train it again.")
                said = (_said(model.target, value) for value in answers(model.target, logits).tolist())
                found[name] += zip(chunk[INDEX], said, strict=True)
    return found


def _said(target: Target, value: float) -> str:
    """A class as the official files write it, or a score to three decimals."""
    return target.raw[int(value)] if target.labels else f"{min(max(value, LOWEST), HIGHEST):.3f}"


def _constant(sheet: Sheet) -> Answers:
    return [(str(row), sheet.fill) for row in range(sheet.rows)]


def _text(found: Answers) -> str:
    return "".join(f"{index}\t{said}\n" for index, said in [(INDEX, "prediction"), *found])


def _zipped(texts: Mapping[str, str]) -> bytes:
    """The same texts give the same bytes: no time of day goes in."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in texts.items():
            packed.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return content.getvalue()
