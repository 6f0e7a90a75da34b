"""`graft up` and what it gives: addresses, a form that refuses, schedules; one line for everything that is wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from faults import answers
from running import Home, until

pytest_plugins = ["running"]
pytestmark = pytest.mark.real


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Home]:
    """A home in which nothing was started."""
    home = Home(tmp_path / "home")
    yield home
    home.graft("down", code=None)


def test_it_listens_on_loopback_alone_and_talks_to_nobody_else(platform: Home) -> None:
    found = [one for process in platform.processes() for one in process.net_connections("inet")]
    assert {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert {one.raddr.ip for one in found if one.raddr} <= {"127.0.0.1"}


def test_all_its_programs_run_quietly_and_idle_take_less_than_a_gigabyte(platform: Home) -> None:
    status = json.loads(platform.graft("status", "--json").splitlines()[0])
    assert {one["name"]: one["state"] for one in status["programs"]} == dict.fromkeys(
        ["prefect", "mlflow", "worker", "keeper", "supervisor"], "RUNNING"
    )
    assert 1e8 < sum(one["memory"] for one in status["programs"]) < 1e9
    for process in platform.processes():
        assert process.environ()["DO_NOT_TRACK"] == "1"
        assert process.environ()["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_started_a_second_time_it_says_that_it_is_up_and_starts_nothing(platform: Home) -> None:
    before = {process.pid for process in platform.processes()}
    told = platform.graft("up", "--detach")
    assert "It is up already." in told
    assert platform.prefect in told and platform.mlflow in told
    assert {process.pid for process in platform.processes()} == before


def test_a_server_that_is_killed_comes_back(platform: Home) -> None:
    (server,) = (one for one in platform.processes() if {"mlflow", "server"} <= set(one.cmdline()))
    server.kill()
    server.wait(10)
    until(lambda: answers(f"{platform.mlflow}/health"), "MLflow is back")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"experiment": "tickets"}, "'tickets' is not one of"),
        ({"experiment": "tickets_lora", "method": "lor"}, "'lor' is not one of"),
        ({"experiment": "tickets_lora", "seed": -1}, "-1 is less than the minimum of 0"),
        ({"experiment": "tickets_lora", "epochs": 1.5}, "1.5 is not of type 'integer'"),
        ({"experiment": "tickets_lora", "limit": -3}, "-3 is less than the minimum of 0"),
    ],
)
def test_the_form_refuses_a_wrong_value(platform: Home, parameters: dict[str, object], said: str) -> None:
    deployment = platform.ask("GET", "/deployments/name/finetune/local")
    url = f"{platform.prefect}/api/deployments/{deployment['id']}/create_flow_run"
    answer = httpx.post(url, json={"parameters": parameters})
    assert answer.status_code == 409
    assert said in answer.text


def test_the_form_has_drop_downs_bounds_and_a_description_for_every_field(platform: Home) -> None:
    for flow in ("finetune", "retrain", "promote", "rollback"):
        schema = platform.ask("GET", f"/deployments/name/{flow}/local")["parameter_openapi_schema"]
        fields = sorted(schema["properties"].values(), key=lambda field: field["position"])
        assert [field["title"] for field in fields if not field.get("description")] == []
        choices = {field["title"]: field["enum"] for field in fields if "enum" in field}
        if flow in {"finetune", "retrain"}:
            assert fields[-1]["title"] == "overrides"
            assert "tickets_lora" in choices["experiment"] and "lora" in choices["method"]
        assert [field["title"] for field in fields if field["type"] == "integer" and "minimum" not in field] == []


def test_what_the_form_cannot_know_fails_at_once_with_the_reason(platform: Home) -> None:
    outside = {"dataset.path": "/etc/passwd", "dataset.package": None}
    run = platform.begin(experiment="tickets_scratch", overrides=outside)
    until(lambda: platform.state(run) in {"FAILED", "COMPLETED", "CRASHED"}, "it ends")
    found = platform.ask("GET", f"/flow_runs/{run}")
    assert found["state"]["type"] == "FAILED"
    assert "GraftError: '/etc/passwd' is" in found["state"]["message"]
    assert "set GRAFT_ALLOW=" in found["state"]["message"]
    assert platform.note(run).get("run_id") is None


def test_a_worse_candidate_is_refused_a_promotion_goes_through_and_is_rolled_back_by_forms(platform: Home) -> None:
    def end(run: str) -> str:
        until(lambda: platform.state(run) in {"FAILED", "COMPLETED", "CRASHED"}, "it ends")
        return platform.became(run)

    def ended(flow: str, **parameters: object) -> tuple[str, str]:
        run = platform.begin(flow, **parameters)
        return end(run), platform.ask("GET", f"/flow_runs/{run}")["state"]["message"] or ""

    def tags(version: int) -> dict[str, str]:
        found = platform.ask_mlflow("model-versions/get", name="forms", version=str(version))["model_version"]
        return {tag["key"]: tag["value"] for tag in found["tags"]}

    def actions() -> list[str]:
        return [entry["action"] for entry in json.loads(platform.graft("ledger", "forms", "--json").splitlines()[0])]

    few = {"overrides": {"model": "forms"}, "experiment": "tickets_scratch", "epochs": 1}
    ended("finetune", **few, limit=400, method="scratch")
    ended("finetune", **few, limit=40, seed=1)
    became, told = ended("promote", model="forms", version=2, because="a try")
    assert became in {"held", "rejected"}
    assert told.startswith(f"forms/2: {became}. accuracy 0.") and told.endswith("choose override.")
    refused = tags(2)
    promoted = platform.begin("promote", model="forms", version=2, because="a demo", override=True)
    assert end(promoted) == "promoted"
    assert platform.ask("GET", f"/flow_runs/{promoted}")["state"]["name"] == "Completed", "a name that the page lists"
    assert tags(2) == refused | {"graft.override": "a demo"}, "the gate's own verdict stands"
    assert ended("rollback", model="forms") == ("rolled back", "forms/1 is the champion, instead of 2.")
    assert "to version 1" in tags(2)["graft.rolled_back"]
    again = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}}
    platform.ask("POST", f"/flow_runs/{promoted}/set_state", again)
    until(lambda: platform.state(promoted) != "COMPLETED", "it is taken up")
    assert end(promoted) == "promoted"
    assert actions()[-2:] == ["promoted", "rolled back"], "Retry of what has ended changes nothing"
    became, told = ended("promote", model="forms", version=1, because="again")
    assert became == "Failed" and "Version 1 is the champion of 'forms' already" in told


def test_a_schedule_is_made_replaced_and_taken_away(platform: Home) -> None:
    def schedules() -> list[tuple[str, str, dict[str, object]]]:
        found = platform.ask("GET", "/deployments/name/retrain/local")["schedules"]
        return [(one["schedule"]["cron"], one["schedule"]["timezone"], one["parameters"]) for one in found]

    told = platform.graft("schedule", "tickets_lora", "--cron", "0 3 * * 1", "--only-if-data-changed")
    assert told.startswith("tickets_lora is retrained at Mon ")
    given = {"experiment": "tickets_lora", "only_if_data_changed": True, "when_busy": "skip"}
    assert schedules() == [("0 3 * * 1", "UTC", given)]
    zone = ("--zone", "Europe/Berlin", "--method", "bitfit")
    platform.graft("schedule", "tickets_lora", "--cron", "30 4 * * *", *zone)
    assert schedules() == [("30 4 * * *", "Europe/Berlin", given | {"method": "bitfit", "only_if_data_changed": False})]
    assert "no longer retrained" in platform.graft("schedule", "tickets_lora", "--remove")
    assert "had no schedule" in platform.graft("schedule", "tickets_lora", "--remove")
    assert schedules() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("schedule", "tickets_lora", "--cron", "0 3 * *"), "--cron '0 3 * *' with --zone 'UTC' is not valid"),
        (("schedule", "tickets_lora", "--cron", "0 3 * * 1", "--zone", "Mars"), "--zone 'Mars' is not valid"),
        (("schedule", "tickets_lora"), "Give --cron"),
        (("logs", "nobody"), "There is no run 'nobody'"),
        (("cancel", "00000000-0000-0000-0000-000000000000"), "There is no run '00000000-"),
    ],
)
def test_what_a_command_cannot_do_is_one_line(platform: Home, words: tuple[str, ...], said: str) -> None:
    told = platform.graft(*words, code=2)
    assert said in told and told.startswith("Error: ") and told.count("\n") == 1


def test_where_nothing_was_started_each_command_says_how_to_start(other: Home) -> None:
    for words in (("status",), ("logs", "x"), ("cancel", "x"), ("resume", "x")):
        assert "`graft up` starts one." in other.graft(*words, code=2)
    assert "Nothing was running." in other.graft("down")


def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(other: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name in ("prefect", "mlflow"):
            told = other.graft("up", "--detach", f"--{name}-port", port, code=2)
            assert (
                told
                == f"Error: Port {port} is in use by another program. Give --{name}-port another, or leave it out.\n"
            )
    assert other.processes() == []


@pytest.mark.parametrize("auth", ["", "nobody", "user:", "user:short"])
def test_on_an_open_address_it_demands_a_password_or_refuses(other: Home, auth: str) -> None:
    other.extra = {"GRAFT_AUTH": auth}
    told = other.graft("up", "--detach", "--host", "0.0.0.0", code=2)
    assert "GRAFT_AUTH" in told and "user:password" in told
    assert auth == "" or auth not in told.replace("user:password", "")
    assert other.processes() == []


def test_a_platform_whose_files_are_left_but_not_its_processes_is_said_to_be_down(platform: Home, other: Home) -> None:
    folder = other.folder / "platform"
    folder.mkdir(parents=True)
    for name in ("platform.json", "supervisor.pid"):
        text = (platform.folder / "platform" / name).read_text()
        (folder / name).write_text(text.replace(str(platform.folder), str(other.folder)))
    assert "The platform is not running. `graft up` starts it" in other.graft("status", code=1)
    assert "The platform is not running. `graft up` starts it" in other.graft("logs", "x", code=2)
