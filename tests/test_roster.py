"""The models on duty: champions that are followed, versions that are fixed, and what happens when nothing works."""

from pathlib import Path

import pytest
from servers import free_port
from stock import TEXTS, Stock, alone, apart

from tasks import registry, tracking
from tasks.frozen import GraftError
from tasks.serving import roster as watching
from tasks.serving.batches import Batches
from tasks.serving.roster import Roster

pytest_plugins = ["small", "stock"]


def held(roster: Roster, name: str) -> int:
    return roster.places[name].held.version.version


def test_a_champion_is_followed_and_a_fixed_version_stays(stock: Stock, batches: Batches) -> None:
    one, two = stock.versions("mails")
    fixed = stock.versions("fixed")[0]
    roster = Roster([one.name, f"{fixed.name}/1"], batches)
    assert not roster.ready
    roster.load()
    assert roster.ready
    before = roster.places[one.name].held
    registry.crown(one.name, 2)
    registry.crown(fixed.name, 2)
    roster.look()

    assert (held(roster, one.name), held(roster, fixed.name)) == (2, 1)
    place = roster.places[one.name]
    assert (place.reloads, place.failures, place.trouble) == (1, 0, "")
    assert place.reloaded is not None
    asked = [batches.ask(model, {"text": TEXTS[:4]}) for model in (place.held, before)]
    for future, seed in zip(asked, (1, 0), strict=True):
        assert apart(future.result(60), alone(stock.folder(seed=seed), {"text": TEXTS[:4]})) < 1e-5
    roster.look()
    assert (place.reloads, place.held.version) == (1, two), "nothing changed, nothing is loaded"


def test_a_version_that_does_not_load_leaves_the_old_one_and_is_not_tried_again_at_once(
    stock: Stock, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = stock.versions("mails")
    weights = stock.folder(seed=1) / "trained.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    roster = Roster([one.name], batches)
    roster.load()
    registry.crown(one.name, 2)
    roster.look()
    roster.look()

    place = roster.places[one.name]
    assert (held(roster, one.name), place.failures, place.reloads) == (1, 1, 0)
    assert place.trouble.startswith("Version 1 goes on: ")
    assert "trained.safetensors cannot be read" in place.trouble
    weights.write_bytes(whole)
    monkeypatch.setattr(watching, "AGAIN", 0.0)
    roster.look()
    assert (place.held.version, place.reloads, place.trouble) == (two, 1, "")


def test_a_version_whose_network_cannot_answer_does_not_take_over(stock: Stock, batches: Batches) -> None:
    one, _ = stock.versions("mails")
    roster = Roster([one.name], batches)
    roster.load()
    recipe = stock.folder(seed=1) / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"name"', '"unknown"'))
    registry.crown(one.name, 2)
    roster.look()
    assert held(roster, one.name) == 1
    assert "ValidationError" in roster.places[one.name].trouble


def test_without_mlflow_and_without_a_champion_it_goes_on_with_what_it_has(
    stock: Stock, batches: Batches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = stock.versions("mails")
    roster = Roster([one.name], batches)
    roster.load()
    place = roster.places[one.name]
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        roster.look()
        roster.look()
    assert "did not take it" in place.trouble
    assert [record.getMessage() for record in caplog.records if record.name == "graft.serve"] == [
        f"{one.name}: {place.trouble}"
    ], "it is said once"
    assert len(batches.ask(place.held, {"text": TEXTS[:2]}).result(60)) == 2
    roster.look()
    assert place.trouble == ""

    tracking.client().delete_registered_model_alias(one.name, registry.CHAMPION)
    roster.look()
    assert (held(roster, one.name), place.failures) == (1, 0)
    assert place.trouble == f"Version 1 goes on: {one.name!r} has no champion any more."


def test_what_cannot_be_served_is_told_before_anything_is_loaded(stock: Stock, batches: Batches) -> None:
    one, _ = stock.versions("mails")
    for refs, told in (
        ([one.name, "nobody"], "'nobody' is no registered model with a champion"),
        ([one.name, f"{one.name}/9"], "/9' is no registered model with a champion, no version"),
        ([one.name, f"{one.name}/2"], f"Model {one.name!r} is given twice"),
    ):
        roster = Roster(refs, batches)
        with pytest.raises(GraftError, match=told):
            roster.load()
        assert not roster.places
        assert not roster.ready


def test_files_fetched_to_be_loaded_are_not_left_behind(
    stock: Stock, batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = stock.versions("mails")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Roster([one.name], batches).load()
    assert list((tmp_path / "temporary").iterdir()) == []
