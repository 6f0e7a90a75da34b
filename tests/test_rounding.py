"""Distances by the size of what was wanted."""

import numpy as np
import pytest
import torch

from tasks.rounding import TOLERANCE, apart


@pytest.mark.parametrize(
    ("wanted", "got", "distance"),
    [
        (0.5, 0.75, 0.25),
        (-1.0, 1.0, 2.0),
        (60.0, 75.0, 0.25),
        (-60.0, -75.0, 0.25),
        (0.0, 60.0, 60.0),  # what is wanted counts, not what came
    ],
)
def test_the_distance_is_a_share_of_what_is_above_1(wanted: float, got: float, distance: float) -> None:
    assert apart([[wanted]], [[got]]).tolist() == [[distance]]


def test_a_few_roundings_of_a_large_number_are_within_the_tolerance_and_a_few_of_its_ten_thousandths_are_not() -> None:
    wanted = torch.tensor([57.9019, -1.0e4])
    rounded = torch.tensor(np.nextafter(np.nextafter(wanted.numpy(), np.inf), np.inf))
    assert (rounded - wanted).abs().max() > TOLERANCE
    assert apart(wanted, rounded).max() <= TOLERANCE
    assert apart(wanted, wanted * 1.0002).min() > TOLERANCE


def test_what_is_no_number_is_within_no_tolerance() -> None:
    for odd in (np.nan, np.inf):
        assert not apart([odd, 1.0], [odd, 1.0]).max() <= TOLERANCE
        assert not apart([1.0, 1.0], [odd, 1.0]).max() <= TOLERANCE
