"""Which rows go where: shares by class, units whole, and nothing but content and salt decides."""

import hashlib

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tasks.frozen import GraftError
from tasks.splits import Pool, carve, draw, joined


def pool(labels: object, units: object = None) -> Pool:
    """Rows with random keys in their order."""
    own = np.asarray(labels)
    keys = np.frombuffer(b"".join(hashlib.md5(b"%d" % n).digest() for n in range(len(own))), np.uint8).reshape(-1, 16)
    order = np.lexsort(keys.T[::-1])
    return Pool(keys[order], own, None if units is None else np.asarray(units), np.arange(len(own)))


def test_every_class_gives_its_share_within_one_row() -> None:
    labels = np.repeat([0, 1, 2], [500, 70, 13])
    for share in (0.1, 0.25, 0.5):
        counts = np.bincount(labels[draw(pool(labels), share, "test")], minlength=3)
        assert counts.sum() == round(len(labels) * share)
        assert np.abs(counts - np.array([500, 70, 13]) * share).max() < 1


def test_rows_of_one_unit_stay_together_and_the_share_is_kept_as_nearly_as_units_allow() -> None:
    rng = np.random.default_rng(0)
    units = rng.integers(0, 150, 1000)
    chosen = draw(pool(units % 2, units), 0.3, "test")
    assert not set(units[chosen]) & set(units[~chosen])
    assert abs(chosen.sum() - 300) <= 2 * np.bincount(units).max()
    assert abs(chosen[units % 2 == 0].mean() - 0.3) < 0.05


def test_another_numbering_of_the_same_units_chooses_the_same_rows() -> None:
    units = np.random.default_rng(1).integers(0, 60, 400)
    names = np.random.default_rng(2).permutation(1000)
    labels = np.arange(400) % 3
    assert (draw(pool(labels, units), 0.2, "a") == draw(pool(labels, names[units]), 0.2, "a")).all()
    assert (draw(pool(labels, units), 0.2, "a") != draw(pool(labels, units), 0.2, "b")).any()


def test_rows_that_are_alone_are_drawn_as_units_of_one_row() -> None:
    labels = np.random.default_rng(7).integers(0, 3, 400)
    numbers = np.random.default_rng(8).permutation(400)
    assert (draw(pool(labels), 0.3, "a") == draw(pool(labels, numbers), 0.3, "a")).all()


def test_a_unit_too_large_for_the_share_is_passed_over_for_smaller_ones() -> None:
    units = np.array([0] * 80 + list(range(1, 21)))
    chosen = draw(pool(np.zeros(100, int), units), 0.1, "test")
    assert chosen.sum() == 10
    assert not chosen[:80].any()


def test_a_number_gives_rows_from_all_of_its_range() -> None:
    values = np.random.default_rng(3).exponential(size=500)
    chosen = values[draw(pool(values), 0.2, "validation:0")]
    edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1])
    assert np.bincount(np.digitize(chosen, edges), minlength=10).tolist() == [10] * 10


def test_of_several_labels_the_rare_ones_are_in_both_parts() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random((600, 4)) < [0.6, 0.3, 0.05, 0.02]).astype(np.int8)
    chosen = draw(pool(labels), 0.25, "test")
    assert chosen.sum() == 150
    shares = labels[chosen].sum(0) / labels.sum(0)
    assert (np.abs(shares - 0.25) < [0.05, 0.08, 0.1, 0.1]).all()


def test_a_number_of_rows_is_carved_and_too_large_a_number_refused() -> None:
    assert carve(pool(np.arange(100) % 4), 17, "validation:0").sum() == 17
    with pytest.raises(GraftError, match="100 rows cannot be carved for validation: there are 100 rows"):
        carve(pool(np.arange(100) % 4), 100, "validation:3")


def test_numberings_are_joined_where_they_share_rows() -> None:
    near, group = np.array([0, 0, 1, 2, 3, 4]), np.array([7, 8, 8, 9, 9, 5])
    assert adjusted_rand_score(joined(near, group), [0, 0, 0, 1, 1, 2]) == 1
    assert adjusted_rand_score(joined(near), near) == 1


def test_a_part_of_a_pool_is_drawn_from_as_a_pool_of_its_own() -> None:
    units = np.random.default_rng(5).integers(0, 80, 300)
    whole = pool(np.arange(300) % 3, units)
    part = np.random.default_rng(6).random(300) < 0.7  # some units lose their first row
    alone = Pool(whole.keys[part], whole.labels[part], units[part], np.arange(part.sum()))
    assert (draw(whole[part], 0.3, "a") == draw(alone, 0.3, "a")).all()
