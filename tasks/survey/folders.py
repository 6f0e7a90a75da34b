"""What a folder of class folders of pictures seems to hold."""

from pathlib import Path

from tasks.datasets.wordnet import short_names
from tasks.frozen import GraftError
from tasks.pictures import check_picture
from tasks.screen import counting
from tasks.survey.cells import PATTERNS
from tasks.survey.seen import LEAST, NAMED, Seen, Survey, longer_side, stored
from tasks.survey.targets import MOST_CLASSES

TESTS = ("test", "val", "valid", "validation", "dev")  # the first of them that is there


def survey_folder(path: Path) -> Survey:
    """Count the pictures of `<path>/<class>`, or of `<path>/train/<class>` and `<path>/test/<class>`.

    Only names are read, and 20 pictures are opened.

    Raises:
        GraftError: there are no such folders, one class only, or files that are no pictures.
    """
    parts = _folders(path)
    train = "train" if "train" in parts else "."
    test = next((name for name in TESTS if name in parts), None) if train == "train" else None
    counted = {name: _counted(path / name) for name in (train, test) if name}
    classes = counted[train]
    if not any(classes.values()):
        raise _nothing(path)
    _check(classes, path / train)
    unread = sorted(set(parts) & set(TESTS) - {test}) if test else []
    notes = [f"The folder {name!r} is not read: Graft takes one to train and one to test." for name in unread]
    rare = min(classes, key=lambda name: len(classes[name]))
    if len(classes[rare]) < LEAST:
        notes.append(f"Class {rare!r} has {len(classes[rare])} pictures only, too few to learn or to score.")
    rows = sum(map(len, classes.values()))
    files = [file for own in classes.values() for file in own]
    names = short_names(list(classes))
    return Survey(
        kind="image_folder",
        fields={"path": stored(path), "train_folder": train} | ({"test_folder": test} if test else {}),
        target="class",
        labels={name: names.get(name, name) for name in classes} if len(classes) <= NAMED else {},
        seen=tuple(_seen(name, own, name == train) for name, own in counted.items()),
        notes=tuple(notes),
        rows=sum(len(own) for part in counted.values() for own in part.values()),
        train_rows=rows if test else int(0.75 * rows),
        smallest=len(classes[rare]),
        largest=max(map(len, classes.values())),
        side=longer_side(file.read_bytes() for file in files[:: max(1, rows // 20)]),
    )


def _folders(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir() if child.is_dir() and child.name[0] != ".")


def _counted(path: Path) -> dict[str, list[Path]]:
    """Class to its files, all of them pictures by their ending or else by their content."""
    found = {}
    with counting("look") as shown:
        for name in _folders(path):
            own = sorted(file for file in (path / name).iterdir() if file.is_file() and file.name[0] != ".")
            for file in own:
                if not PATTERNS["path"].fullmatch(file.name):
                    _check_picture(file)
            found[name] = own
            shown.advance("pictures", len(own))
    return found


def _check_picture(file: Path) -> None:
    try:
        check_picture(file.read_bytes())
    except GraftError as error:
        raise GraftError(f"{file} is no picture. A class's folder must hold pictures alone: take it out.") from error


def _check(classes: dict[str, list[Path]], folder: Path) -> None:
    if len(classes) < 2:
        raise GraftError(f"{folder} holds one class only ({', '.join(classes)}). At least two are needed.")
    if len(classes) > MOST_CLASSES:
        raise GraftError(f"{folder} holds {len(classes):,} class folders; {MOST_CLASSES:,} classes are the most.")
    for name, files in classes.items():
        if len(files) < 3:
            raise GraftError(f"Class {name!r} has {len(files)} pictures only. Give more of it, or take its folder out.")


def _nothing(path: Path) -> GraftError:
    tables = sorted(file.name for file in path.iterdir() if file.suffix in (".csv", ".tsv", ".jsonl", ".parquet"))
    hint = f" It holds {', '.join(tables)}: give one of these." if tables else ""
    return GraftError(f"{path} holds neither folders of pictures, one a class, nor a saved `datasets` folder.{hint}")


def _seen(name: str, classes: dict[str, list[Path]], train: bool) -> Seen:
    total = sum(map(len, classes.values()))
    return Seen(
        column=name, role="train" if train else "test", why=f"{total:,} pictures in {len(classes)} class folders"
    )
