"""The table of works: every recipe loads, both sides have the same rows, and the options choose among them."""

import pytest

from tasks.bench.works import WORKS, Work, asked
from tasks.frozen import GraftError


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
@pytest.mark.parametrize("quick", [False, True])
def test_both_sides_of_every_work_have_the_same_rows_batches_and_epochs(work: Work, quick: bool) -> None:
    ours, theirs = work.recipes(quick)

    assert (ours.dataset, ours.seed, ours.backbone) == (theirs.dataset, theirs.seed, theirs.backbone)
    drawn = ours.schedule.model_copy(update={"draws": theirs.schedule.draws})  # the other side has no such setting
    assert drawn == theirs.schedule
    assert theirs.schedule.draws is None
    assert not quick or (ours.schedule.epochs == 1 and ours.dataset.limit and ours.dataset.limit < 300)


def test_the_works_stand_in_their_order_with_their_goals() -> None:
    goals = {"text-padded": 15, "text": 1.6, "text-top3": 2.5, "text-full": 1.5, "images": 6, "probe": 4, "predict": 3}

    assert {work.name: work.goal for work in WORKS} == goals
    assert [work.name for work in WORKS] == list(goals)


def test_the_predicted_model_is_the_one_that_text_trains() -> None:
    named = {work.name: work for work in WORKS}

    for quick in (False, True):
        assert named["predict"].recipes(quick)[0].fingerprint == named["text"].recipes(quick)[0].fingerprint


def test_the_other_side_of_the_upper_blocks_adapts_all_of_them() -> None:
    ours, theirs = next(work for work in WORKS if work.name == "text-top3").recipes(quick=False)

    assert ours.method.model_dump()["layers"] == 3
    assert theirs.method.model_dump()["layers"] is None


def test_the_options_choose_works_and_turns() -> None:
    assert asked("trainer,timm", None, quick=False).works == WORKS
    assert [work.name for work in asked("timm", None, False).works] == ["images", "probe"]
    assert [work.name for work in asked("trainer", None, False, "predict,text").works] == ["text", "predict"]
    assert [asked("timm", *given).repeats for given in ((None, False), (None, True), (5, True))] == [3, 1, 5]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("keras", None, False), "--against 'keras': 'keras' is unknown. Valid, with commas: trainer, timm."),
        (("", None, False), "no name is given"),
        (("timm", None, False, "text"), "--only 'text': 'text' is unknown. Valid, with commas: images, probe."),
        (("timm", 0, False), "--repeats 0 is no number of turns"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(given: tuple[str, int | None, bool], told: str) -> None:
    with pytest.raises(GraftError) as error:
        asked(*given)

    assert told in str(error.value)
