"""What is nearly the same shares a group, what only looks so does not, whatever the order and the process."""

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.feature_extraction.text import CountVectorizer

from tasks import near
from tasks.alike import LONGEST_CHAIN, Places
from tasks.datasets.glue import Glue
from tasks.pictures import open_picture

LONG = "my parcel was due last week and the driver has not come although I waited at home the whole day"


def parts(ids: Iterable[int], things: Iterable[object]) -> set[frozenset[object]]:
    """The groups as sets of what is in them."""
    found: dict[int, set[object]] = {}
    for own, thing in zip(ids, things, strict=True):
        found.setdefault(int(own), set()).add(thing)
    return {frozenset(group) for group in found.values()}


def together(*texts: str) -> bool:
    return len(set(near.text_groups(texts).tolist())) == 1


# What `normal` takes away and what it keeps.


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("It never came.", "it NEVER came"),
        ("never  came\n", " never\tcame!"),
        ("Straße", "STRASSE"),
        ("ﬁne ２０", "fine 20"),
        ("cafe\u0301", "caf\u00e9"),
        ("soft\u00adware", "software"),
        ("“so-so” …", '"so so"'),
        ("I ❤\ufe0f it", "I ❤ it"),
    ],
)
def test_case_punctuation_spacing_and_ways_of_writing_vanish(one: str, two: str) -> None:
    assert near.normal(one) == near.normal(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("year 1", "year 2"),
        ("café", "cafe"),
        ("की", "का"),
        ("good 😀", "good 😡"),
        ("好", "坏"),
        ("?!", "!?"),
        ("", " "),
    ],
)
def test_letters_marks_on_them_digits_and_emoji_stay(one: str, two: str) -> None:
    assert near.normal(one) != near.normal(two)


def test_a_text_without_letters_is_itself() -> None:
    assert [near.normal(text) for text in ("...", " ", "", ":-)")] == ["...", " ", "", ":-)"]


# Texts that are near, and texts that are not.


@pytest.mark.parametrize(
    "other",
    [
        LONG.upper() + " !",
        LONG.replace("driver", "drivr"),
        LONG + " long",
        LONG.replace("has not", "hasn't"),
        "well " + LONG,
    ],
)
def test_a_text_with_a_small_change_is_near(other: str) -> None:
    assert together(LONG, other)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("the film is good", "the film is bad"),
        ("a man is playing a flute", "a man is playing a guitar"),
        ("dog bites man", "man bites dog"),
        ("row 1 says 1", "row 2 says 4"),
        (f"{LONG}, order 20441", f"{LONG}, order 20442"),
        ("yes", "no"),
        ("a", "b"),
        ("...", "!!!"),
        (LONG, "the parcel came today and the driver was kind, thank you for that"),
    ],
)
def test_short_texts_that_say_different_things_are_not_near(one: str, two: str) -> None:
    assert not together(one, two)


def test_a_number_in_a_long_text_does_not_make_it_another() -> None:
    page = " ".join(f"word{letter}{other}" for letter, other in itertools.product("abcdefgh", repeat=2))
    assert together(f"{page} read on 4 May", f"{page} read on 5 May")


def test_a_pair_of_texts_counts_as_a_whole() -> None:
    assert not together(
        f"{LONG}\nit is about a parcel", f"{LONG}\nwe like to go to the sea in summer with the children"
    )


def jaccard(one: str, two: str) -> float:
    """Written again from the definition: shared runs of five characters by all of them."""
    one, two = f" {near.normal(one)} ", f" {near.normal(two)} "
    runs = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (one, two)]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def mixed(count: int, seed: int) -> list[str]:
    """Sentences of 8 to 20 words, and for each a few with some words changed."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(2, 9))) for _ in range(400)]
    made = []
    for _ in range(count):
        first = list(rng.choice(words, rng.integers(8, 21)))
        for changes in (0, 1, 2, 3):
            own = list(first)
            for place in rng.choice(len(own), changes, replace=False):
                own[place] = str(rng.choice(words))
            made.append(" ".join(own))
    return made


def test_groups_are_the_links_that_comparing_all_pairs_finds() -> None:
    texts = mixed(60, 0)
    links = [(a, b) for a, b in itertools.combinations(range(len(texts)), 2) if jaccard(texts[a], texts[b]) >= 0.8]
    wanted = list(range(len(texts)))
    for a, b in links:
        wanted = [wanted[a] if own == wanted[b] else own for own in wanted]
    assert len(links) > 30
    assert max(map(len, parts(wanted, range(len(texts))))) <= LONGEST_CHAIN
    assert parts(near.text_groups(texts), range(len(texts))) == parts(wanted, range(len(texts)))


def chained(count: int, seed: int = 0) -> list[str]:
    """Each text is the one before without its first word and with one more at its end."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 5)) for _ in range(count + 14)]
    return [" ".join(words[start : start + 14]) for start in range(count)]


def test_a_long_chain_is_cut_and_all_are_near_the_groups_first() -> None:
    texts = chained(300)
    assert all(jaccard(one, two) >= 0.8 for one, two in itertools.pairwise(texts))
    assert jaccard(texts[0], texts[2]) < 0.8
    groups = parts(near.text_groups(texts), texts)
    assert len(groups) >= 100
    assert max(map(len, groups)) <= 3
    for group in groups:
        assert any(all(jaccard(str(lead), str(text)) >= 0.8 for text in group) for lead in group)


def test_copies_with_small_changes_stay_together_however_many() -> None:
    rng = np.random.default_rng(0)
    first, words = list(rng.permutation([f"{one}{two}{one}" for one, two in itertools.product("abcdef", "xyzuvw")])), []
    for _ in range(200):
        own = list(first)
        own[rng.integers(1, len(own))] = "".join(rng.choice(list("ghijkl"), 3))
        words.append(" ".join(own))
    assert len(set(near.text_groups([" ".join(first), *words]))) == 1


@pytest.mark.parametrize("make", [lambda: mixed(40, 1), lambda: chained(60)])
def test_the_groups_do_not_depend_on_the_order_or_on_what_else_is_the_same(make: Callable[[], list[str]]) -> None:
    texts = make()
    wanted = parts(near.text_groups(texts), texts)
    for seed in range(3):
        mixed_up = list(np.random.default_rng(seed).permutation([*texts, *texts[::7]]))
        assert parts(near.text_groups(mixed_up), mixed_up) == wanted


def test_another_process_finds_the_same_ids() -> None:
    program = "import test_near; print(test_near.near.text_groups(test_near.mixed(30, 2)).tolist())"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{Path(__file__).parent}:."}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(near.text_groups(mixed(30, 2)).tolist())


def test_ids_are_dense_and_no_texts_have_none() -> None:
    ids = near.text_groups(mixed(20, 3))
    assert set(ids) == set(range(ids.max() + 1))
    assert near.text_groups([]).tolist() == []
    assert near.text_groups(iter(["one"])).tolist() == [0]


def test_every_text_is_counted_once() -> None:
    counted: list[int] = []
    near.text_groups((f"text number {index}" for index in range(2500)), counted.append)
    assert sum(counted) == 2500


@pytest.mark.parametrize("limit", ["TEXTS", "CHARACTERS"])
def test_of_too_many_texts_only_the_equal_ones_are_grouped(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [LONG, LONG.upper(), f"well {LONG}", "yes", "Yes!"]
    assert parts(near.text_groups(texts), range(5)) == {frozenset({0, 1, 2}), frozenset({3, 4})}
    monkeypatch.setattr(near, limit, 4)
    assert parts(near.text_groups(texts), range(5)) == {frozenset({0, 1}), frozenset({2}), frozenset({3, 4})}


# Pictures.


def noise(seed: int, side: int = 96, grain: int = 12) -> Image.Image:
    """A picture of its own: coarse noise, made smooth."""
    pixels = np.random.default_rng(seed).integers(0, 256, (grain, grain, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int = 60) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * 0.75), round(image.height * 0.75)))


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


CHANGES: list[Callable[[Image.Image], Image.Image]] = [
    encoded,
    smaller,
    brighter,
    lambda i: encoded(brighter(smaller(i))),
]


def looks(images: Iterable[Image.Image]) -> Places:
    return near.picture_groups([near.picture_hash(image) for image in images])


def test_copies_of_a_picture_share_a_group_and_others_do_not() -> None:
    images = [change(noise(seed)) for seed in range(40) for change in (lambda i: i, *CHANGES)]
    seeds = [seed for seed in range(40) for _ in range(5)]
    assert {frozenset({seed}) for seed in range(40)} == parts(looks(images), seeds)


def test_pictures_that_differ_in_colour_alone_are_not_alike() -> None:
    shape = np.asarray(noise(0).convert("L"), np.uint8)
    nothing = np.zeros_like(shape)
    red, blue = (
        Image.fromarray(np.stack(planes, 2)) for planes in ((shape, nothing, nothing), (nothing, nothing, shape))
    )
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "black", "white", "grey")]
    assert len(set(looks([red, blue, *plain]))) == 7


def test_a_small_picture_has_no_hash_and_a_group_of_its_own() -> None:
    small = noise(0).resize((31, 90))
    assert near.picture_hash(small) is None
    assert near.picture_hash(noise(0).resize((32, 90))) is not None
    assert sorted(looks([small, noise(0), small, noise(0)]).tolist()) == [0, 0, 1, 2]


def test_pictures_of_one_object_in_grey_are_hashed_too() -> None:
    assert len(set(looks([noise(0).convert("L"), encoded(noise(0).convert("L").convert("RGB"))]))) == 1


def test_no_pictures_have_no_groups() -> None:
    assert near.picture_groups([]).tolist() == []
    assert near.picture_groups([None, None]).tolist() == [0, 1]


def turned(look: bytes, bits: Iterable[int]) -> bytes:
    """The hash with some of the 128 bits turned over that candidates are found by; the thumbnail as it is."""
    own = np.unpackbits(np.frombuffer(look, np.uint8))
    own[list(bits)] ^= 1
    return np.packbits(own).tobytes()


@pytest.mark.parametrize("bits", [1, 6, 12])
def test_copies_are_found_wherever_their_hashes_differ(bits: int) -> None:
    rng = np.random.default_rng(bits)
    first = [rng.integers(0, 256, near.LOOK, dtype=np.uint8).tobytes() for _ in range(3000)]
    ids = near.picture_groups([*first, *(turned(look, rng.choice(128, bits, replace=False)) for look in first)])
    assert (ids[:3000] == ids[3000:]).mean() >= 0.995
    assert len(set(ids)) <= 3015


def test_the_same_hashes_with_another_thumbnail_are_not_alike() -> None:
    rng = np.random.default_rng(0)
    first = [rng.integers(0, 256, near.LOOK, dtype=np.uint8).tobytes() for _ in range(500)]
    others = [look[:16] + rng.integers(0, 256, near.LOOK - 16, dtype=np.uint8).tobytes() for look in first]
    assert len(set(near.picture_groups([*first, *others]))) == 1000


# Real data.

PAIRS = {
    "MRPC": {"text": "#1 String", "text_pair": "#2 String", "label": "Quality"},
    "STS-B": {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
}


def real(task: str, split: str) -> list[str]:
    columns = PAIRS[task]
    hub = {"id": "none", "revision": "0" * 40, "columns": columns}
    source = Glue.model_validate({"kind": "glue", "folder": f"glue/{task}", "columns": columns, "hub": hub}).read()
    return ["\n".join(row) for row in source.table(split)[["text", "text_pair"]].itertuples(index=False)]


@pytest.mark.parametrize(("task", "split"), [("MRPC", "train"), ("STS-B", "train")])
def test_real_pairs_are_grouped_as_all_pairs_by_scikit_learn_say(data_folder: Path, task: str, split: str) -> None:
    texts = real(task, split)
    plain = [f" {near.normal(text)} " for text in texts]
    held = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, dtype=np.int32).fit_transform(plain)
    sizes = np.asarray(held.sum(1)).ravel()
    links = [set[int]() for _ in texts]
    for start in range(0, len(texts), 500):
        shared = (held[start : start + 500] @ held.T).toarray()
        near_by = shared / (sizes[start : start + 500, None] + sizes - shared) >= 0.8
        for one, two in zip(*np.nonzero(near_by), strict=True):
            words = [plain[row].split() for row in (one + start, two)]
            numbers = [sorted(word for word in own if set(word) & set("0123456789")) for own in words]
            if numbers[0] == numbers[1] or min(map(len, words)) > 50:
                links[one + start].add(int(two))
    wanted, left = set(), set(range(len(texts)))
    while left:
        group, fresh = set[int](), {left.pop()}
        while fresh:
            group |= fresh
            fresh = set().union(*(links[row] for row in fresh)) - group
        wanted.add(frozenset(group))
        left -= group
    assert sum(len(group) > 1 for group in wanted) > 0
    assert max(map(len, wanted)) <= LONGEST_CHAIN
    assert parts(near.text_groups(texts), range(len(texts))) == wanted


def test_the_six_pairs_that_sts_b_has_in_train_and_dev_are_found(data_folder: Path) -> None:
    train, dev = real("STS-B", "train"), real("STS-B", "test")
    ids = near.text_groups([*train, *dev])
    assert len(set(train) & set(dev)) == 6
    both = set(ids[: len(train)]) & set(ids[len(train) :])
    assert all(ids[train.index(text)] in both for text in set(train) & set(dev))


def test_real_photographs_match_their_copies_and_no_others(data_folder: Path) -> None:
    files = sorted((data_folder / "imagenet10").glob("*/*/*"))
    images = [open_picture(file.read_bytes(), 3) for file in files]
    first = [near.picture_hash(image) for image in images]
    copies = [near.picture_hash(change(image)) for change in CHANGES for image in images[::14]]
    ids = near.picture_groups([*first, *copies])
    assert len(set(ids[: len(files)])) == len(files)
    wanted = np.tile(ids[: len(files)][::14], len(CHANGES))
    assert (ids[len(files) :] == wanted).mean() >= 0.98
    strays = ids[len(files) :][ids[len(files) :] != wanted]
    assert not set(strays) & set(ids[: len(files)])
