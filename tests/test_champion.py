"""How a champion changes: one at a time, each change with its reason, crashes that leave no doubt, and the way back."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks import champion, ledger, registry, tracking
from tasks.frozen import GraftError
from tasks.results import Reason, Registered, Verdict

pytest_plugins = ["small"]


@dataclass(frozen=True)
class Model:
    """A model of a real registry, by a name that no other test has; the files of its versions do not matter here."""

    name: str

    def versions(self, count: int) -> list[Registered]:
        """So many versions, each of a run of its own."""
        tracking.client().create_registered_model(self.name)
        made = []
        for _ in range(count):
            run = self.run()
            version = tracking.client().create_model_version(self.name, source=f"runs:/{run}/model", run_id=run)
            made.append(registry.version(self.name, int(version.version)))
        return made

    def run(self) -> str:
        return str(tracking.client().create_run(tracking.experiment(self.name)).info.run_id)

    @property
    def told(self) -> list[tuple[str, int, int | None, int | None]]:
        """The ledger in short."""
        return [(entry.action, entry.version, entry.before, entry.champion) for entry in ledger.whole(self.name)]

    @property
    def held(self) -> int | None:
        """The champion's number."""
        found = registry.champion(self.name)
        return found.version if found else None


@pytest.fixture
def model(tracking_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_db)
    return Model(f"mails-{tmp_path.name}")


def verdict(outcome: str, against: int | None = None) -> Verdict:
    reason = Reason.model_validate({"about": "accuracy", "outcome": outcome, "told": f"It {outcome}."})
    return Verdict(judged=(reason,), against=against, test_hash="rows", rows=10)


def test_a_passing_verdict_crowns_and_the_others_leave_the_champion_each_in_the_ledger(model: Model) -> None:
    one, two, three = model.versions(3)
    champion.settle(one, verdict("passed"))
    champion.settle(two, verdict("open", against=1))
    champion.settle(three, verdict("failed", against=1))

    assert model.held == 1
    assert model.told == [("promoted", 1, None, 1), ("held", 2, 1, 1), ("rejected", 3, 1, 1)]
    entry = ledger.whole(model.name)[0]
    assert (entry.why, entry.decision, entry.test_hash, entry.run_id) == ("It passed.", "PROMOTE", "rows", one.run_id)
    assert "@" in entry.who
    assert entry.when.endswith("+00:00")


def test_the_verdict_is_kept_with_the_version_and_its_run(model: Model) -> None:
    (one,) = model.versions(1)
    champion.settle(one, verdict("open"))

    tags = tracking.client().get_model_version(model.name, "1").tags
    assert (tags["graft.verdict"], tags["graft.reasons"]) == ("HOLD", "It open.")
    assert champion.kept_verdict(one.run_id) == verdict("open")
    assert champion.kept_verdict(model.run()) is None


def test_settled_again_after_a_crash_nothing_is_written_twice(model: Model) -> None:
    one, two = model.versions(2)
    for _ in range(3):
        champion.settle(one, verdict("passed"))
    for _ in range(3):
        champion.settle(two, verdict("open", against=1))
    assert model.told == [("promoted", 1, None, 1), ("held", 2, 1, 1)]


def test_a_crash_between_the_entry_and_the_alias_is_mended_by_the_same_call(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = model.versions(2)
    champion.settle(one, verdict("passed"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(registry, "crown", _interrupted)
        champion.settle(two, verdict("passed", against=1))
    assert model.held == 1, "the entry is there, the alias has not moved"
    champion.settle(two, verdict("passed", against=1))
    assert model.held == 2
    assert model.told == [("promoted", 1, None, 1), ("promoted", 2, 1, 2)]


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_verdict_against_a_champion_that_is_gone_moves_nothing_and_says_so(model: Model) -> None:
    one, two, three = model.versions(3)
    champion.settle(one, verdict("passed"))
    champion.settle(two, verdict("passed", against=1))
    late = champion.settle(three, verdict("passed", against=1))

    assert (model.held, late.decision) == (2, "HOLD")
    assert "changed from 1 to 2 meanwhile" in late.reasons[0]
    assert champion.kept_verdict(three.run_id) == late
    assert model.told[-1] == ("refused", 3, 2, 2)


def _promote(name: str, number: int, barrier: Any) -> None:
    candidate = registry.version(name, number)
    barrier.wait()
    champion.settle(candidate, verdict("passed", against=1))


def test_of_promotions_at_once_one_wins_and_all_are_in_the_ledger(model: Model) -> None:
    champion.settle(model.versions(4)[0], verdict("passed"))
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    racing = [spawn.Process(target=_promote, args=(model.name, number, barrier)) for number in (2, 3, 4)]
    for process in racing:
        process.start()
    for process in racing:
        process.join(120)
    assert [process.exitcode for process in racing] == [0, 0, 0]

    entries = ledger.whole(model.name)
    assert [entry.action for entry in entries] == ["promoted", "promoted", "refused", "refused"]
    assert model.held == entries[1].version
    assert {entry.version for entry in entries[1:]} == {2, 3, 4}
    assert all(entry.champion == entries[1].version for entry in entries[1:])


def test_the_way_back_goes_one_champion_further_each_time(model: Model) -> None:
    one, two, three = model.versions(3)
    for version, against in ((one, None), (two, 1), (three, 2)):
        champion.settle(version, verdict("passed", against))
    for expected in (2, 1):
        before = champion.previous(model.name)
        assert before == expected
        champion.move(registry.version(model.name, before), model.held, "rolled back", "It was worse.")
        assert model.held == expected
    with pytest.raises(GraftError, match="knows of no champion of 'mails-.* before version 1"):
        champion.previous(model.name)
    assert [entry.action for entry in ledger.whole(model.name)][-2:] == ["rolled back", "rolled back"]


def test_without_a_champion_there_is_no_way_back(model: Model) -> None:
    model.versions(1)
    with pytest.raises(GraftError, match="'mails-.* has no champion"):
        champion.previous(model.name)


def test_a_changed_or_deleted_entry_is_seen(model: Model) -> None:
    one, two, three = model.versions(3)
    for version, against in ((one, None), (two, 1), (three, 2)):
        champion.settle(version, verdict("passed", against))
    client = tracking.client()
    place = tracking.experiment(ledger.EXPERIMENT)
    runs = client.search_runs([place], f"tags.`graft.ledger` = '{model.name}'")
    (second,) = (run for run in runs if '"number":2' in run.data.tags["graft.entry"])
    kept = second.data.tags["graft.entry"]

    client.set_tag(second.info.run_id, "graft.entry", kept.replace("It passed.", "It was perfect."))
    with pytest.raises(GraftError, match="what stands before entry 3 is not what was written"):
        ledger.whole(model.name)
    client.set_tag(second.info.run_id, "graft.entry", kept)
    assert len(ledger.whole(model.name)) == 3
    client.delete_run(second.info.run_id)
    with pytest.raises(GraftError, match=r"not whole.*the deleted ones too"):
        ledger.whole(model.name)


def test_models_have_ledgers_of_their_own(model: Model) -> None:
    (one,) = model.versions(1)
    champion.settle(one, verdict("passed"))
    assert ledger.whole("others") == []


@pytest.mark.parametrize("given", ["", "  \n ", "x" * 1001])
def test_a_reason_is_asked_for_and_is_no_novel(given: str) -> None:
    with pytest.raises(GraftError, match="--because"):
        ledger.reason(given)


def test_a_reason_becomes_one_line() -> None:
    assert ledger.reason(" fewer\n  refunds ") == "fewer refunds"
