#!/usr/bin/env python3
"""Take the pictures in docs/pictures from a running lab, with a real browser: ``make screenshots``.

They show a run of an experiment with a search: the last one that succeeded, or one that is made for them. The browser is Debian's and Ubuntu's Chromium
(``make screenshots`` installs it); CHROMIUM names another one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import urllib.parse
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

import running_lab

WINDOW = {"width": 1400, "height": 900}
TALL = {"width": 1400, "height": 1400}
PATIENCE = 60_000
"""Milliseconds that a page may take."""

SETTLED = """
localStorage.setItem("mlflow.workflowType_v1", JSON.stringify("machine_learning"));
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
"""MLflow's pages as somebody sees them who chose "Model training" and closed the assistant."""


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    running_lab.options(parser)
    parser.add_argument("--experiment", default="wine_search", help="an experiment with a search (%(default)s)")
    parser.add_argument("--folder", type=Path, default=running_lab.ROOT / "docs" / "pictures", help="where the pictures go (%(default)s)")
    given = parser.parse_args()
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not browser_path:
        sys.exit("No browser was found: install one (on Debian and Ubuntu: apt install chromium), or name it in CHROMIUM.")
    lab = running_lab.Lab.of(given.report, given.vault)
    run_id = last_run(lab, given.experiment)
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox refuses root
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        credentials: Any = {"username": lab.users["MLflow"], "password": lab.passwords["MLflow"], "origin": lab.mlflow}
        context = browser.new_context(viewport=WINDOW, http_credentials=credentials, locale="en-GB", timezone_id="UTC", color_scheme="light")
        context.set_default_timeout(PATIENCE)
        context.add_init_script(SETTLED)
        camera = Camera(context.new_page(), given.folder)
        airflow(camera, lab, given.experiment, run_id)
        mlflow(camera, lab, run_id)
        browser.close()


def last_run(lab: running_lab.Lab, experiment: str) -> str:
    """The last run of an experiment that succeeded; makes one if there is none."""
    runs = lab.ask_airflow("dags/train/dagRuns?state=success&order_by=-run_after&limit=100")["dag_runs"]
    # as the file says it, without overrides: those of a benchmark train nothing
    found = [run["dag_run_id"] for run in runs if (run["conf"] or {}).get("experiment") == experiment and not run["conf"].get("overrides")]
    if found:
        return str(found[0])
    print(f"There is no run of {experiment} yet; one is made", flush=True)
    run_id = lab.trigger({"experiment": experiment})
    lab.finished(run_id)
    return run_id


class Camera:
    """A page, and the folder for its pictures."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def take(self, name: str, part: Locator | None = None) -> None:
        """Take a picture of the page, or a part of it, once nothing moves any more."""
        with suppress(TimeoutError):
            self.page.wait_for_load_state("networkidle", timeout=PATIENCE / 3)
        self.page.wait_for_timeout(3000)
        (part or self.page).screenshot(path=self.folder / f"{name}.png", animations="disabled")
        print(self.folder / f"{name}.png", flush=True)


def airflow(camera: Camera, lab: running_lab.Lab, experiment: str, run_id: str) -> None:
    """Log in to Airflow; take the trigger form, and the grid with the tasks of the run."""
    page = camera.page
    page.goto(f"{lab.airflow}/auth/login/")
    page.fill("input[name=username]", lab.users["Airflow"])
    page.fill("input[name=password]", lab.passwords["Airflow"])
    page.click("input[type=submit]")
    page.wait_for_url(lambda url: "/auth/login" not in url)

    page.goto(f"{lab.airflow}/dags/train")
    page.set_viewport_size(TALL)
    page.locator("button", has_text="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_placeholder("Start typing to see options").click()
    page.keyboard.type(experiment)
    page.keyboard.press("Enter")
    camera.take("trigger_form", form)
    form.get_by_text("Instead of what the file says").click()
    camera.take("trigger_form_overrides", form)
    page.set_viewport_size(WINDOW)

    page.goto(f"{lab.airflow}/dags/train/runs/{urllib.parse.quote(run_id)}")
    page.get_by_text("searcher 1", exact=False).first.wait_for()
    edge = page.locator("[data-panel-resize-handle-id], [data-separator]").first.bounding_box()
    if edge:  # the grid with all of its columns
        page.mouse.move(edge["x"] + edge["width"] / 2, edge["y"] + 200)
        page.mouse.down()
        page.mouse.move(520, edge["y"] + 200, steps=5)
        page.mouse.up()
    camera.take("search_run")


def mlflow(camera: Camera, lab: running_lab.Lab, run_id: str) -> None:
    """Take MLflow's pages of the run: what it was and gave, its plots, and the trials of its search."""
    page = camera.page
    found = lab.run_of(run_id)
    run, of = found["info"]["run_id"], f"{lab.mlflow}/#/experiments/{found['info']['experiment_id']}"
    page.set_viewport_size(TALL)
    page.goto(f"{of}/runs/{run}")
    page.get_by_text("About this run").wait_for()
    camera.take("mlflow_run")
    page.set_viewport_size(WINDOW)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("plots", exact=True).click()
    for picture in ("confusion_matrix", "folds", "search/optimization_history", "search/parallel_coordinates"):
        folder, _, name = picture.rpartition("/")
        file = page.get_by_text(f"{name}.png", exact=True).first
        if folder and not file.is_visible():
            page.get_by_text(folder, exact=True).last.click()
        file.click()
        page.wait_for_function("name => [...document.images].some(image => image.naturalWidth > 400)", arg=name)
        camera.take(f"mlflow_{name}")


if __name__ == "__main__":
    main()
