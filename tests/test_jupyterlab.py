"""A notebook in JupyterLab itself, driven by Chromium: nothing in red, progress in place, the report in its frame.

Needs the extra `notebooks` beside Playwright:  uv run --extra notebooks pytest -m slow tests/test_jupyterlab.py
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from time import sleep

import nbformat
import pytest

from gspo_lite.report import write_reports
from tests.report.test_report import BOTH, make_run

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
    write_reports(make_run(tmp_path / "run", evaluation=BOTH, problems=40, text="<b>1</b>"))
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"seconds": {"train": 1.0}, "peak_memory_gib": 1.0}))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WORK)])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "book.ipynb")
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
    yield f"http://127.0.0.1:{port}/lab/tree/book.ipynb?reset"
    server.terminate()
    server.wait(20)


def test_a_run_in_jupyterlab(lab):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 2400})
        page.set_default_timeout(60_000)
        page.goto(lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # earlier, a dialog asks for a kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
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
        assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        browser.close()
