"""Draw `docs/report.png`, the picture of a report in the README: train a small study, and photograph its page.

    python docs/picture.py [STORE]

Needs Chromium and `pip install -e '.[test]'`. Without a store the study is trained in a temporary one: about two
minutes on two cores. The picture shows the verdict, the forest plot and the learning curves at 1,280 pixels.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from titans_lab.report.images import BROWSERS

DOCS = Path(__file__).parent
STUDY = DOCS.parent / "studies" / "quickstart.yaml"
WIDTH, SCALE, MARGIN = 1280, 1.5, 40
#: Of the page, what the picture leaves out.
HIDDEN = """\
nav, footer, .more, .controls, .facts, .expectation, section .wide, #theme,
main > section:not([aria-labelledby="outcome"], [aria-labelledby="forest-title"], [aria-labelledby^="learning"])
"""


def main() -> None:
    """Train the study where that is needed, write its report and photograph it."""
    with tempfile.TemporaryDirectory() as folder:
        store, page = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "store", Path(folder) / "report.html"
        for verb, more in (("sweep", ("--no-verify",)), ("report", ("--output", str(page)))):
            command = ("-m", "titans_lab", verb, str(STUDY), "--store", str(store), *more)
            subprocess.run([sys.executable, *command], check=True)
        photograph(page, DOCS / "report.png")


def photograph(page: Path, picture: Path) -> None:
    """Write a PNG of what the picture shows of a report."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        shown = chromium.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE)
        shown.goto(page.as_uri())
        while not shown.evaluate("document.documentElement.dataset.drawn !== undefined"):
            time.sleep(0.1)
        shown.add_style_tag(content=f"{HIDDEN} {{ display: none; }} body {{ padding: {MARGIN}px !important; }}")
        shown.screenshot(path=picture, full_page=True)
        chromium.close()


if __name__ == "__main__":
    main()
