"""Which column is the input, which the label, and what the label's target is: seen, or said by the user."""

import re
from collections.abc import Sequence

from tasks.frozen import Frozen, GraftError
from tasks.survey.cells import Look
from tasks.survey.targets import TargetKind, check_label, listed, separator_of, target_of

LABEL_NAMES = (
    {"label", "labels", "target", "class", "y", "gold_label"},
    {
        "category", "categories", "intent", "sentiment", "topic", "topics", "tag", "tags", "rating", "score", "stars",
        "emotion", "emotions", "genre", "genres", "team", "stance", "quality", "grade", "answer_label", "similarity",
    },
)  # fmt: skip
TEXT_NAMES = {
    "text", "sentence", "review", "message", "body", "comment", "content", "tweet", "utterance", "document",
    "description",
}  # fmt: skip
PAIRS = [
    ("premise", "hypothesis"), ("question", "answer"), ("question", "context"), ("question", "passage"),
    ("question", "sentence"), ("query", "document"), ("query", "passage"), ("query", "answer"), ("query", "text"),
    ("text", "text_pair"), ("source", "target"), ("anchor", "positive"), ("left", "right"), ("claim", "evidence"),
]  # fmt: skip
SECOND = {"1": "2", "a": "b", "A": "B", "one": "two"}
LABELS = {"words", "flag", "number", "comma", "lists", "multi"}


class Wanted(Frozen):
    """What the user has said; it wins over what is seen."""

    text: str | None = None
    pair: str | None = None
    image: str | None = None
    label: tuple[str, ...] = ()
    target: TargetKind | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(name for name in (self.text, self.pair, self.image, *self.label) if name)


class Roles(Frozen):
    """The columns that matter; `separator` stands between several labels in one cell."""

    text: str | None = None
    pair: str | None = None
    image: str | None = None
    label: tuple[str, ...]
    target: TargetKind
    why: str
    separator: str | None = None
    split: str | None = None
    group: str | None = None

    @property
    def of(self) -> dict[str, str]:
        """Column to role."""
        own = {"text": self.text, "second text": self.pair, "image": self.image, "split": self.split}
        return {name: role for role, name in own.items() if name} | dict.fromkeys(self.label, "label")


def roles(looks: Sequence[Look], wanted: Wanted, origin: str) -> Roles:
    """The role of every column that has one.

    - Image: the one column of pictures or of their paths. Else text: the one column of texts; of several a pair, if
      their names make one (`sentence1` and `sentence2`, `premise` and `hypothesis`); else the one that is named as
      texts are, or is four times as long as any other.
    - Label: the one column that is named `label` or the like, else the one with a name such as `category`, else the
      one that could be it; or three and more columns of 0 and 1 together.
    - Target: lists and several parts are multilabel; words, 0 and 1 and up to 20 whole numbers are classes; other
      numbers are numbers, unless they are whole and rise from 0 or 1 without a gap: then the user decides.

    Raises:
        GraftError: a column is missing, nothing or several things fit, or the label cannot be learnt.
    """
    known = {look.name: look for look in looks}
    for name in wanted.named:
        if name not in known:
            raise GraftError(f"{origin} has no column {name!r}. It has: {', '.join(known)}.")
    image = wanted.image or (None if wanted.text or wanted.pair else _image(looks))
    if image and (wanted.text or wanted.pair):
        raise GraftError("--image and --text are both given. A model takes one of them: leave the other out.")
    text, pair = (None, None) if image else _texts(looks, wanted, origin)
    free = [look for look in looks if look.name not in (image, text, pair)]
    label = tuple(known[name] for name in wanted.label) or _label(free, origin)
    if used := [look.name for look in label if look.name in (image, text, pair)]:
        raise GraftError(f"Column {used[0]!r} cannot be an input and the label. Name them with --text and --label.")
    target, why = target_of(label, wanted.target)
    check_label(label, target)
    return Roles(
        text=text,
        pair=pair,
        image=image,
        label=tuple(look.name for look in label),
        target=target,
        why=why if wanted.label else why + _doubt(free, label),
        separator=separator_of(label[0], target) if len(label) == 1 else None,
        split=next((look.name for look in free if look.kind == "split" and look not in label), None),
        group=next((look.name for look in free if look.kind == "group" and look not in label), None),
    )


def _image(looks: Sequence[Look]) -> str | None:
    found = [look for look in looks if look.kind in ("path", "picture")]
    if len(found) > 1:
        raise GraftError(f"Several columns could be the image: {listed(found)}. Choose with --image COLUMN.")
    return found[0].name if found else None


def _texts(looks: Sequence[Look], wanted: Wanted, origin: str) -> tuple[str, str | None]:
    if wanted.text:
        return wanted.text, wanted.pair
    taken = {wanted.pair, *wanted.label} | ({look.name for look in looks if _plain(look) in LABEL_NAMES[0]})
    strings = {"words", "id", "group", "multi"}
    found = [
        look
        for look in looks
        if look.name not in taken and (look.kind == "text" or (look.kind in strings and _plain(look) in TEXT_NAMES))
    ]
    texts = [look.name for look in looks if look.kind == "text" and look.name not in taken]
    short = [look.name for look in looks if look.kind == "words" and look.name not in taken]
    pair = None if wanted.pair else _pair(texts) or _pair(texts + short)
    if pair and set(texts) <= set(pair):
        return pair
    if not found:
        raise GraftError(f"No column of {origin} looks like texts: {listed(looks)}. Choose with --text COLUMN.")
    if chosen := _outstanding(found):
        return chosen, wanted.pair
    raise GraftError(
        f"Several columns could be the text: {listed(found)}. "
        "Choose with --text COLUMN, or make a pair with --text COLUMN --pair COLUMN."
    )


def _pair(names: Sequence[str]) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in names}
    found = [(lower[one], lower[two]) for one, two in PAIRS if one in lower and two in lower]
    for name in names:
        others = (f"{name[: m.start()]}{SECOND[m[0]]}{name[m.end() :]}" for m in re.finditer("|".join(SECOND), name))
        found += [(name, other) for other in others if other in names]
    return found[0] if found else None


def _outstanding(found: Sequence[Look]) -> str | None:
    if len(found) == 1:
        return found[0].name
    if len(named := [look for look in found if _plain(look) in TEXT_NAMES]) == 1:
        return named[0].name
    longest, second = sorted(found, key=lambda look: -look.letters)[:2]
    return longest.name if longest.letters >= 4 * second.letters else None


def _label(free: Sequence[Look], origin: str) -> tuple[Look, ...]:
    first = [look for look in free if _plain(look) in LABEL_NAMES[0]]
    if len(first) == 1:
        return (first[0],)
    found = first or [look for look in free if look.kind in LABELS]
    if len(named := [look for look in found if _plain(look) in LABEL_NAMES[1]]) == 1:
        return (named[0],)
    if len(found) > 2 and all(look.kind == "flag" for look in found):
        return tuple(found)
    if not found:
        raise GraftError(f"No column of {origin} looks like a label: {listed(free)}. Choose with --label COLUMN.")
    if len(found) > 1:
        raise GraftError(
            f"Several columns could be the label: {listed(found)}. Choose with --label COLUMN "
            "(several times for columns of 0 and 1)."
        )
    return (found[0],)


def _doubt(free: Sequence[Look], label: Sequence[Look]) -> str:
    """The other columns that could be a label that was chosen by a name such as `category`."""
    others = [look.name for look in free if look.kind in LABELS and look not in label]
    if not others or _plain(label[0]) in LABEL_NAMES[0]:
        return ""
    return f"; chosen by its name, else --label {' or '.join(map(repr, others))}"


def _plain(look: Look) -> str:
    return look.name.strip().lower().replace(" ", "_")
