"""The report as a browser shows it: filter, theme, width and accessibility. Needs Chromium and Playwright."""

import shutil

import pytest

from gspo_lite.report import write_comparison, write_reports
from tests.report.test_episodes import make_episodes
from tests.report.test_report import BOTH, make_run

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return write_reports(make_run(folder / "run", evaluation=BOTH, problems=40, text="<b>1</b>"))


def opened(browser, path, width=1280, scheme="light"):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(20_000)
    page.goto(path.as_uri())
    return page


def test_the_filter_and_the_theme_do_what_they_say(browser, report):
    page = opened(browser, report)
    shown = page.locator("#problems > li:visible")
    assert shown.count() == 8
    page.locator("form[data-list=problems] button").click()
    assert shown.count() == 40
    page.locator("form[data-list=problems] select").select_option("became right")
    assert page.locator("form[data-list=problems] output").inner_text() == "8 of 20 shown"
    assert {item.get_attribute("data-kind") for item in shown.all()} == {"became right"}
    page.locator("form[data-list=problems] input").fill("no such text")
    assert shown.count() == 0
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(background) == "rgb(18, 22, 28)"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.close()


def test_a_curve_is_read_where_the_pointer_is(browser, report):
    page = opened(browser, report)
    figure = page.locator("figure", has_text="Reward, weighted sum")
    figure.locator(":scope > svg").hover(position={"x": 5, "y": 50})
    assert figure.locator(".read").inner_text() == "step 1: 0.08333"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_is_accessible(browser, report, width, scheme):
    page = opened(browser, report, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("b").count() == 0  # a model's own markup is text
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 10
    assert [(one["id"], one["impact"]) for one in found["violations"]] == []
    page.close()


def test_a_comparison_is_accessible(browser, tmp_path):
    runs = [make_run(tmp_path / name, evaluation=BOTH, problems=4) for name in ("first", "second")]
    page = opened(browser, write_comparison(runs, tmp_path / "both.html"), 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe.Axe().run(page).response["violations"] == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_episodes_fit_and_are_accessible(browser, tmp_path, width, scheme):
    page = opened(browser, write_reports(make_episodes(tmp_path / "run")), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("ol.episode:visible").count() == 3
    assert axe.Axe().run(page).response["violations"] == []
    page.close()
