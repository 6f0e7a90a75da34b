"""What a person does in the pages: starts a run by the form, watches it, follows its link, compares it with another.

The pictures that the README shows are made here: GRAFT_PICTURES=tests/pictures makes them anew.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from running import Home, until

pytest_plugins = ["running"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

TRAINING = "?workflowType=machine_learning"
FINAL = 240_000  # milliseconds that a run may take


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go."""
    folder = Path(os.environ.get("GRAFT_PICTURES") or tmp_path).absolute()
    folder.mkdir(exist_ok=True)
    return folder


def field(page: Page, name: str) -> Locator:
    """A field of the form."""
    return page.locator(".schema-form-property", has_text=f"{name} (Optional)")


def choose(page: Page, name: str, value: str) -> None:
    """Choose from a drop-down."""
    field(page, name).locator(".p-select").click()
    page.keyboard.press("Space")
    page.get_by_text(value, exact=True).last.click()


def test_a_run_started_by_the_form_is_watched_followed_to_mlflow_and_compared(
    platform: Home, page: Page, pictures: Path
) -> None:
    other = platform.begin(experiment="tickets_scratch", limit=320, epochs=4, seed=1)
    until(lambda: platform.state(other) == "COMPLETED", "a run to compare with is complete")

    page.goto(f"{platform.prefect}/deployments")
    page.locator("tr", has_text="finetune").get_by_role("link", name="local").first.click()
    page.get_by_role("button", name="Run", exact=True).last.click()
    page.get_by_text("Custom run").last.click()
    choose(page, "experiment", "tickets_scratch")
    field(page, "epochs").locator("input").fill("8")
    field(page, "limit").locator("input").fill("-5")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("-5 is less than the minimum of 0").first).to_be_visible()
    field(page, "limit").locator("input").fill("320")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").first.dispatch_event("click")  # it still moves
    page.wait_for_url(re.compile("flow-run"))
    run = re.search(r"flow-run/([0-9a-f-]{36})", page.url)
    assert run

    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=FINAL)
    page.get_by_text("Artifacts", exact=True).last.click()
    for kept in ("progress-train", "checks", "results", "scores", "mlflow"):
        expect(page.get_by_text(kept, exact=True).last).to_be_visible()
    page.get_by_text("scores", exact=True).last.click()
    picture = page.locator("img[src^='data:image/png']")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 400
    page.goto(f"{platform.prefect}/runs/flow-run/{run[1]}")
    page.get_by_text("Artifacts", exact=True).last.click()
    page.wait_for_timeout(3000)  # its timeline moves into place
    page.screenshot(path=pictures / "prefect.png")

    page.get_by_text("mlflow", exact=True).last.click()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="the run in MLflow").click()
    mlflow = opened.value
    expect(mlflow.get_by_role("heading", name="tickets_scratch-scratch-0")).to_be_visible(timeout=30_000)
    assert platform.mlflow_runs(run[1])[0] in mlflow.url
    expect(mlflow.get_by_text(f"{platform.prefect}/runs/flow-run/").first).to_be_attached()

    mlflow.goto(f"{mlflow.url.partition('/runs/')[0]}/runs{TRAINING}")
    for _ in range(2):
        mlflow.get_by_role("checkbox", name=re.compile(r"toggle row selection \(unchecked\)")).first.click()
    mlflow.get_by_role("button", name="Compare", exact=True).click()
    expect(mlflow.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible(timeout=30_000)
    for name in ("tickets_scratch-scratch-0", "tickets_scratch-scratch-1"):
        expect(mlflow.get_by_text(name, exact=True).first).to_be_visible()
    metrics = mlflow.get_by_text("test/accuracy", exact=True).last
    metrics.scroll_into_view_if_needed()
    expect(metrics).to_be_visible()
    mlflow.screenshot(path=pictures / "mlflow.png")
