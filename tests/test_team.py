"""What can silently be wrong in `mlflow/compose.yaml`, its image and its env file, read without Docker."""

import fnmatch
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import mlflow.environment_variables
import prefect.settings
import pytest
import yaml
from composed import COMPOSE, FOLDER, SERVICES, TEXT, VARIABLE

ROOT = FOLDER.parent
OWN = ("prefect", "mlflow", "worker")  # the services that run Graft's own image for good
VARIABLES = [
    (name, variable) for name, service in SERVICES.items() for variable in service.get("environment", {})
]  # fmt: skip
SECRET = re.compile("PASSWORD|SECRET|AUTH_STRING|GRAFT_AUTH|ACCESS_KEY")
README = (FOLDER / "README.md").read_text()


def _help(*words: str) -> str:
    command = [sys.executable, "-m", *words, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_only_the_two_pages_are_published_and_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published == ["127.0.0.1:4200:4200", "127.0.0.1:5000:5000"]
    assert [name for name, service in SERVICES.items() if {"network_mode", "privileged"} & service.keys()] == []


def test_every_variable_of_the_env_file_is_required_and_stands_in_the_readme() -> None:
    (block,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    lines = [line for line in block.splitlines() if not line.startswith("#")]

    assert TEXT.count("$") == len(VARIABLE.findall(TEXT)), "a variable without :? is empty where it is missing"
    assert {f"{name}=" for name in VARIABLE.findall(TEXT)} == set(lines)


def test_no_secret_stands_in_a_file() -> None:
    for name, variable in VARIABLES:
        value = str(SERVICES[name]["environment"][variable])
        assert not SECRET.search(variable) or not VARIABLE.sub("", value).strip(":"), f"{name}: {variable}"
    for file in (*FOLDER.iterdir(), ROOT / "prefect.yaml"):
        assert not re.search(r"://[^/\s@]*:[^/\s@]+@", file.read_text()), f"{file.name} has an address with a password"
    assert sum(bool(SECRET.search(variable)) for _, variable in VARIABLES) > 10


def test_the_env_file_is_neither_in_the_repository_nor_in_the_image() -> None:
    sent = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()

    assert "mlflow/team.env" in README
    assert (FOLDER / ".gitignore").read_text().split() == ["team.env"]
    assert sent[0] == "*"
    assert [line for line in sent if "env" in line] == ["!mlflow/server.env"]


@pytest.mark.parametrize(("name", "words"), [("prefect", 3), ("mlflow", 4), ("worker", 2)])
def test_every_flag_of_a_command_is_one_of_the_installed_program(name: str, words: int) -> None:
    command = SERVICES[name]["command"]
    program = ["flows" if word == "graft" else word for word in command[:words] if word[:2] != "--" and "/" not in word]
    flags = {word.partition("=")[0] for word in command[words:] if word.startswith("--")}

    assert flags
    assert flags <= set(re.findall(r"--[a-z-]+", _help(*program)))


@pytest.mark.parametrize(("name", "variable"), [pair for pair in VARIABLES if pair[0] in OWN])
def test_every_variable_is_a_setting_of_the_installed_program(name: str, variable: str) -> None:
    if variable.startswith("PREFECT_"):
        assert hasattr(prefect.settings, variable)
    elif variable.startswith("MLFLOW_"):
        assert hasattr(mlflow.environment_variables, variable)
    elif variable.startswith("GRAFT_"):
        assert any(variable in file.read_text() for room in ("flows", "tasks") for file in (ROOT / room).rglob("*.py"))
    else:  # test_team_servers.py runs with them
        assert variable in {"DO_NOT_TRACK", "PGPASSWORD"} or variable.startswith("AWS_")


def test_a_service_waits_for_what_it_needs_and_never_for_a_health_that_nobody_tells() -> None:
    for name, service in SERVICES.items():
        for other, needed in service.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
            if needed["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no", f"{other} never ends"
        if name != "bucket":
            assert service["restart"] == "unless-stopped"
            assert "healthcheck" in service
    assert all("database" in SERVICES[name]["depends_on"] for name in ("prefect", "mlflow"))
    assert SERVICES["worker"]["depends_on"].keys() == {"prefect", "mlflow"}


def test_what_must_last_lies_in_volumes() -> None:
    mounted = {
        place.split(":")[1]: place.split(":")[0] for one in SERVICES.values() for place in one.get("volumes", [])
    }

    assert mounted["/var/lib/postgresql/data"] == "database"
    assert (mounted["/data"], mounted["/graft"]) == ("data", "home")
    assert SERVICES["store"]["volumes"] == ["store:/data"]
    assert {place for place in mounted.values() if not place.startswith("./")} <= COMPOSE["volumes"].keys()
    assert all((FOLDER / place).exists() for place in mounted.values() if place.startswith("./"))


def test_the_volumes_and_the_network_of_docker_runs_are_those_of_compose() -> None:
    definitions = yaml.safe_load((ROOT / "prefect.yaml").read_text())["definitions"]
    given = definitions["docker"]["work_pool"]["job_variables"]

    assert given["networks"] == [COMPOSE["networks"]["default"]["name"]]
    assert "graft-data:/data:ro" in given["volumes"]
    assert COMPOSE["volumes"]["data"]["name"] == "graft-data"
    assert COMPOSE["volumes"]["home"]["name"] not in str(given["volumes"]), "the worker's keeper would end these runs"
    image = COMPOSE["x-graft"]["image"]
    assert {definitions[pool]["work_pool"]["job_variables"]["image"] for pool in ("docker", "kubernetes")} == {image}
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        assert given["env"][name] == SERVICES["worker"]["environment"][name]


def test_the_image_has_all_that_is_needed_and_runs_as_nobody_special() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*)", text, re.MULTILINE) for word in line.split()[:-1]}
    sent = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]

    assert all((ROOT / place).exists() for place in copied)
    assert copied == set(sent)
    assert all(fnmatch.filter(copied, pattern) for pattern in packages)
    assert {"requirements.lock", "prefect.yaml", "pyproject.toml", "mlflow/server.env", "mlflow/auth.ini"} <= copied
    assert "--no-deps --require-hashes" in text
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/home/graft/")
    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["graft"]
    assert text.index("\nUSER ") > text.rindex("\nRUN ")
    assert COMPOSE["x-graft"]["image"] == f"graft:{project['project']['version']}"


def test_no_image_names_a_registry_and_every_one_has_a_version() -> None:
    base = re.findall(r"^FROM (\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    for image in {*base, *(service["image"] for service in SERVICES.values())}:
        place, _, version = image.partition(":")
        assert version and version != "latest"
        assert not re.search(r"[.:]", place)


def test_no_python_lies_here_and_the_library_is_found() -> None:
    assert list(FOLDER.rglob("*.py")) == []
    assert "site-packages" in Path(inspect.getfile(mlflow.environment_variables)).parts
