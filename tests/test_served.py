"""A registered model asked through MLflow: in this process and over HTTP, one row and 64, as was recorded."""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from made import Made
from servers import SCORING, serving

from tasks import runtime
from tasks.frozen import GraftError
from tasks.objective import probabilities
from tasks.prepare import inputs_of, rows_of
from tasks.speed.quick import MANY
from tasks.verify import load

pytest_plugins = ["made"]

ALL = ["tickets", "numbers", "digits", "colours"]  # texts, pairs, pictures, several labels


@pytest.fixture(params=ALL)
def made(request: pytest.FixtureRequest, at_home: Path) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def digits_model(digits: Made, at_home: Path) -> Any:
    return _model(digits)


def _model(made: Made) -> Any:
    mlflow.set_tracking_uri(runtime.tracking_uri())
    return load(made.result.registered.uri)


def rows(made: Made, count: int) -> pd.DataFrame:
    """The inputs of so many test rows, from the first again where there are fewer."""
    return pd.DataFrame(inputs_of(rows_of(made.data, "test").table(places(made, count))))


def places(made: Made, count: int) -> list[int]:
    return [place % made.data.rows["test"] for place in range(count)]


def in_base64(table: pd.DataFrame) -> pd.DataFrame:
    if "image" not in table:
        return table
    return table.assign(image=[base64.b64encode(content).decode() for content in table["image"]])


def check(made: Made, answers: pd.DataFrame, count: int) -> None:
    """The answers to `rows` are those in predictions.parquet."""
    recorded = made.predictions.iloc[places(made, count)]
    assert len(answers) == len(recorded) == count
    if made.data.target.labels is None:
        assert answers["score"].tolist() == pytest.approx(recorded["prediction"].tolist(), abs=1e-5)
        return
    wanted = probabilities(made.data.target, torch.tensor(np.stack(list(recorded["logits"]))))
    assert np.abs(np.stack(list(answers["probabilities"])) - wanted.numpy()).max() < 1e-5
    name = "labels" if made.data.target.kind == "multilabel" else "label"
    assert [_plain(own) for own in answers[name]] == [_plain(own) for own in recorded["prediction"]]


def _plain(answer: Any) -> Any:
    return answer if isinstance(answer, str) else list(answer)


@pytest.mark.parametrize("count", [1, 64, MANY])
def test_one_row_64_and_so_many_that_the_network_is_made_quicker_are_answered_as_recorded(
    made: Made, count: int
) -> None:
    check(made, _model(made).predict(rows(made, count)), count)


def test_the_first_call_with_many_rows_makes_the_network_quicker_for_good(adapted: Made, at_home: Path) -> None:
    model = _model(adapted)
    layers = [*model.unwrap_python_model().model.network.module.modules()]

    def kinds(count: int) -> list[type]:
        check(adapted, model.predict(rows(adapted, count)), count)
        return [type(layer) for layer in layers]

    plain = kinds(MANY - 1)
    quick = kinds(MANY)
    assert quick != plain
    assert kinds(MANY) == quick, "not made anew, which takes time"
    assert kinds(1) == quick


def test_threads_that_ask_for_few_and_many_rows_at_once_are_answered_as_recorded(tickets: Made, at_home: Path) -> None:
    model = _model(tickets)
    counts = [1, MANY, 8, MANY, 2, MANY, 1, 3]
    with ThreadPoolExecutor(4) as pool:
        for count, answers in zip(
            counts, pool.map(lambda count: model.predict(rows(tickets, count)), counts), strict=True
        ):
            check(tickets, answers, count)


@pytest.mark.parametrize("count", [1, 64])
def test_pictures_in_base64_are_answered_as_recorded(digits: Made, digits_model: Any, count: int) -> None:
    table = rows(digits, count)
    broken = table.assign(image=[base64.encodebytes(content).decode() for content in table["image"]])

    assert broken["image"].str.count("\n").min() > 1
    for given in (in_base64(table), broken, in_base64(table).assign(image=lambda t: t["image"].str.encode("ascii"))):
        check(digits, digits_model.predict(given), count)


@pytest.mark.parametrize("cell", ["cat.png", "bm90IGEgcGljdHVyZQ==", "ä" * 8, "data:image/png;base64,iVBORw0KGgo="])
def test_a_text_that_is_no_picture_is_quoted(digits_model: Any, cell: str) -> None:
    with pytest.raises(GraftError) as refused:
        digits_model.predict(pd.DataFrame({"image": [cell]}))

    assert str(refused.value).startswith(f"{cell!r} is no picture in base64. Give ")


def test_a_long_text_is_quoted_by_its_beginning(digits_model: Any) -> None:
    with pytest.raises(GraftError) as refused:
        digits_model.predict(pd.DataFrame({"image": ["A" * 3000]}))

    assert "'" + "A" * 40 + "' is no" in str(refused.value)
    assert len(str(refused.value)) < 200


def test_bytes_that_are_no_picture_are_named(digits_model: Any) -> None:
    with pytest.raises(GraftError, match="the picture has no known format"):
        digits_model.predict(pd.DataFrame({"image": [b"\x00 nothing"]}))


@pytest.fixture
def served(made: Made, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve`, without hub, cache, data or home."""
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty"), "GRAFT_DATA": "/none", "GRAFT_HOME": "/none"}
    alone |= {"MLFLOW_TRACKING_URI": runtime.tracking_uri(), "PYTHONPATH": str(Path(__file__).parents[1])}
    alone |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    with serving(SCORING, tmp_path, "-m", made.result.registered.uri, environment=alone) as address:
        yield address


def _post(address: str, body: dict[str, Any]) -> Any:
    asked = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return pd.DataFrame(json.load(answer)["predictions"])


@pytest.mark.real
def test_a_server_answers_json_as_recorded(made: Made, served: str) -> None:
    for count in (1, 64):
        table = in_base64(rows(made, count))
        for form in ("split", "records"):
            body = {f"dataframe_{form}": table.to_dict(form)}
            check(made, _post(served, body), count)
        check(made, _post(served, {"inputs": table.to_dict("list")}), count)
        check(made, _post(served, {"instances": table.to_dict("records")}), count)
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(served, {"dataframe_records": [dict.fromkeys(table, " ")]})
    assert refused.value.code == 400
    assert "has an empty cell" in refused.value.read().decode()
