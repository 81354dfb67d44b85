"""Draw the README's picture, the first two figures of a report, in Chromium.

python docs/picture.py results/reports/quickstart.html
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import FloatRect, sync_playwright

WIDTH, MARGIN = 1100, 24  # pixels
TARGET = Path(__file__).parent / "report.png"


def draw(report: Path) -> None:
    """Write the figures of the final scores and of the differences from the baseline to `TARGET`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_selector(".main-svg")
        page.wait_for_timeout(1000)  # the figures settle
        first, last = (page.locator(f"section[aria-labelledby={name}-title]") for name in ("final-score", "forest"))
        top, bottom = first.bounding_box(), last.bounding_box()
        assert top is not None
        assert bottom is not None
        clip = FloatRect(
            x=0, y=top["y"] - MARGIN, width=WIDTH, height=bottom["y"] + bottom["height"] - top["y"] + MARGIN
        )
        page.screenshot(path=TARGET, full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
    print(TARGET)
