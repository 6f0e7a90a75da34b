"""Checks of texts: their characters, their length, and how much of them the network sees."""

import numpy as np

from tasks.backbones.text import TextNetwork
from tasks.checks.subject import Subject, of, share, some
from tasks.checks.wording import KINDS
from tasks.findings import Finding

LONG, TIMES = 5_000, 20  # characters; times the median
TOKENISED = 1_000  # rows of train
CUT = 0.05  # of the rows


def empty(subject: Subject) -> Finding:
    """Rows without an input or a label; `prepare` refuses them by their ids, and `graft check` lists them here.

    What remains are texts in which no letter and no digit is.
    """
    if not subject.is_text:
        return subject.finding("empty", "ok", "Every row has a picture and a label.")
    found = {split: np.flatnonzero(texts.words == 0) for split, texts in subject.texts.items()}
    count = sum(map(len, found.values()))
    if not count:
        return subject.finding("empty", "ok", "Every row has an input and a label.")
    return subject.finding(
        "empty",
        "note",
        f"{some(count, 'text')} found without a letter or a digit: there is little to learn from them.",
        "Leave them out, if they are no answers of their own.",
        count,
        of(found),
    )


def encoding(subject: Subject) -> Finding:
    """Texts that were decoded wrongly (é as Ã©), hold the sign for a lost character, or control characters."""
    name = "encoding"
    if not subject.is_text:
        return subject.finding(name, "skipped", "Skipped: the rows are pictures.")
    found = {split: np.flatnonzero(texts.faults) for split, texts in subject.texts.items()}
    count = sum(map(len, found.values()))
    if not count:
        return subject.finding(name, "ok", "No text shows signs of a wrong encoding.")
    kinds = {
        kind: sum(int((texts.faults >> bit & 1).sum()) for texts in subject.texts.values())
        for bit, kind in enumerate(KINDS)
    }
    told = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number)
    return subject.finding(
        name,
        "warning",
        f"{some(count, 'text')} ({share(count, sum(subject.data.rows.values()))}) with odd characters ({told}): "
        "words are torn that the tokenizer knows.",
        "Read the file with its own encoding (`encoding: latin-1` in a table's file), or mend it where it was made.",
        count,
        of(found),
    )


def long(subject: Subject) -> Finding:
    """Texts of more than 5,000 characters and 20 times the median: often rows that ran together at a lost quote."""
    if not subject.is_text:
        return subject.finding("long", "skipped", "Skipped: the rows are pictures.")
    usual = float(np.median(subject.texts["train"].characters))
    limit = max(LONG, TIMES * usual)
    found = {split: np.flatnonzero(texts.characters > limit) for split, texts in subject.texts.items()}
    longest = max(int(texts.characters.max()) for texts in subject.texts.values())
    count = sum(map(len, found.values()))
    if not count:
        return subject.finding("long", "ok", f"Texts have {usual:,.0f} characters (median) to {longest:,}.")
    return subject.finding(
        "long",
        "warning",
        f"{some(count, 'text')} of more than {limit:,.0f} characters (the longest {longest:,}, the median "
        f"{usual:,.0f}): perhaps rows that ran together.",
        "Look at them: a quote that does not close joins the rows after it.",
        count,
        of(found),
    )


def truncation(subject: Subject) -> Finding:
    """The share of a sample of training rows that has more tokens than the backbone's `max_length`."""
    name = "truncation"
    network = subject.network
    if not isinstance(network, TextNetwork):
        return subject.finding(name, "skipped", "Skipped: the rows are pictures.")
    places = subject.spread("train", TOKENISED)
    table = subject.rows("train").table(places)
    pairs = table["text_pair"].tolist() if "text_pair" in table else None
    lengths = np.array([len(ids) for ids in network.tokenizer(table["text"].tolist(), pairs)["input_ids"]])
    cut = np.flatnonzero(lengths > network.max_length)
    scope = f"of a sample of {len(places):,} training rows"
    if not len(cut):
        return subject.finding(
            name, "ok", f"None {scope} has more than {network.max_length} tokens; the longest has {lengths.max()}."
        )
    most = int(np.quantile(lengths, 0.99))
    return subject.finding(
        name,
        "warning" if len(cut) > CUT * len(places) else "note",
        f"{len(cut):,} {scope} ({share(len(cut), len(places))}) with more than {network.max_length} tokens: "
        "what comes after is not seen.",
        f"Set backbone.max_length={most} (99 % fit), if the network takes it; training gets slower.",
        len(cut),
        (("train", places[row]) for row in cut),
    )
