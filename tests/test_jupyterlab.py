"""Notebooks in JupyterLab itself, driven by Chromium: nothing in red, progress in place, the report in its frame.

Needs the extra `notebooks` beside Playwright:  uv run --extra notebooks pytest -m slow tests/test_jupyterlab.py
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from time import sleep

import nbformat
import pytest

from gspo_lite.report import write_reports
from tests.conftest import ROOT
from tests.report.test_report import BOTH, make_run
from tests.test_notebooks import SHORTER

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jupyterlab")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]
WORK = """
from pathlib import Path
from gspo_lite.run import RunResult
from gspo_lite.system.progress import live
from gspo_lite.system.say import say, warn
say("train    gspo, 40 steps")
with live("training", 40) as view:
    for done in range(1, 41):
        view.update(done, "reward 0.50")
warn("a warning")
RunResult(Path("run"), {}, "the summary")
"""


@pytest.fixture
def lab(tmp_path):
    """A server of the folder; the address at which it opens notebooks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"ServerApp.port": port, "ServerApp.root_dir": tmp_path, "ServerApp.token": "", "ServerApp.password": ""}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    home = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    server = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())], env={**os.environ, **home}
    )
    for _ in range(120):
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api")
            break
        sleep(0.5)
    yield f"http://127.0.0.1:{port}/lab/tree"
    server.terminate()
    server.wait(20)


@contextmanager
def page_of(address):
    """The notebook at this address, all of it in sight, with all its cells started."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 4200})
        page.set_default_timeout(60_000)
        page.goto(f"{address}?reset")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # earlier, a dialog asks for a kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        yield page
        assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        browser.close()


def test_a_run_in_jupyterlab(lab, tmp_path):
    write_reports(make_run(tmp_path / "run", evaluation=BOTH, problems=40, text="<b>1</b>"))
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"seconds": {"train": 1.0}, "peak_memory_gib": 1.0}))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WORK)])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "book.ipynb")
    with page_of(f"{lab}/book.ipynb") as page:
        report = page.frame_locator("iframe[title='Report of the run']")
        report.locator(".verdict").wait_for()
        assert report.locator("#problems > li:visible").count() == 8  # its script runs
        report.locator("form[data-list=problems] button").click()
        assert report.locator("#problems > li:visible").count() == 40
        assert report.locator("b").count() == 0
        assert page.locator("img[alt='Curves of the run']").evaluate("one => one.naturalWidth") > 500
        assert page.locator("progress").count() == 1
        output = page.locator(".jp-OutputArea-output")
        assert "training" in output.nth(1).inner_text()
        assert "40/40  reward 0.50  in 0:00" in output.nth(1).inner_text()


def test_the_first_notebook_in_jupyterlab(lab, tmp_path, starter):
    """A run that moves its progress line in place, then figures, report and picture; nothing in red."""
    book = nbformat.read(ROOT / "notebooks" / "01_first_run.ipynb", as_version=4)
    for cell in book.cells:
        cell.source = cell.source.replace('overrides = ["output.if_exists=overwrite"]', SHORTER)
    nbformat.write(book, tmp_path / "first.ipynb")
    with page_of(f"{lab}/first.ipynb") as page:
        page.set_default_timeout(200_000)
        line = page.locator(".jp-OutputArea-output:has(progress)", has_text="training")
        line.get_by_text("/8  reward").wait_for()
        assert "left" in line.inner_text()  # it is under way
        page.locator("img[src^='data:image/png'], .jp-RenderedImage img").nth(1).wait_for()  # of the last cell
        assert "8/8  reward" in line.inner_text()
        assert page.locator("progress").count() == 3  # held-out problems before, training, held-out problems after
        report = page.frame_locator("iframe[title='Report of the run']")
        assert "accuracy" in report.locator(".verdict").inner_text()
        assert page.locator(".jp-RenderedImage img").evaluate("one => one.naturalWidth") > 500
        assert page.locator(".jp-OutputArea-output", has_text="before <").count() == 1  # problems it learned
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        page.screenshot(path=tmp_path / "first.png")
