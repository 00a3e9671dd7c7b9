"""Takes the picture of a report that the README shows: python docs/report_picture.py RUN.

Needs Chromium and Playwright.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "report.png"
WIDTH, CURVES, MARGIN = 1120, 6, 16  # verdict, table and so many curves

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.goto((Path(sys.argv[1]).resolve() / "report.html").as_uri())
    box = page.locator("figure").nth(CURVES - 1).bounding_box()
    height = box["y"] + box["height"] + MARGIN
    page.screenshot(path=PICTURE, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    browser.close()
print(PICTURE)
