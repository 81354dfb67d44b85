"""Figures as image files, drawn by a browser without a window."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from titans_lab.errors import UserError
from titans_lab.report.bundle import plotly_js
from titans_lab.report.plot import Figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=60000",
    "--dump-dom",
)
WIDTH, SCALE = 900, 2  # pixels of a figure, and pixels of a PNG for each of them
SECONDS = 120
_PAGE = """\
<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"><body>
<script>%s</script><script type="application/json" id="figures">%s</script><script>
const { format, width, scale, figures } = JSON.parse(document.getElementById("figures").textContent);
(async () => {
  for (const [name, figure] of Object.entries(figures)) {
    const size = { format, width, height: figure.layout.height, scale };
    const image = document.createElement("pre");
    image.id = `image-${name}`;
    image.textContent = await Plotly.toImage(figure, size);
    document.body.append(image);
  }
})();
</script></body>"""


def images(figures: Sequence[Figure], form: str) -> dict[str, bytes]:
    """Return the content of an image file for each figure, by name; UserError if no browser can draw it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError(f"--format {form}: a browser draws it, and none of {', '.join(BROWSERS)} is installed")
    if not figures:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figures.html"
        page.write_text(_page(figures, form), encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", page.as_uri()]
        try:
            drawn = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise UserError(f"--format {form}: {browser} did not draw the figures: {error}") from error
    found = dict(re.findall(r'<pre id="image-([^"]+)">(data:[^<]+)</pre>', drawn.stdout))
    missing = [figure.name for figure in figures if figure.name not in found]
    if missing:
        raise UserError(f"--format {form}: {browser} did not draw {', '.join(missing)}")
    return {figure.name: _content(found[figure.name]) for figure in figures}


def _page(figures: Sequence[Figure], form: str) -> str:
    on_white = {"paper_bgcolor": "#ffffff", "margin": {"l": 16, "r": 16, "t": 16, "b": 16}}
    drawings = {figure.name: {"data": figure.traces, "layout": figure.layout | on_white} for figure in figures}
    asked = json.dumps({"format": form, "width": WIDTH, "scale": SCALE if form == "png" else 1, "figures": drawings})
    return _PAGE % (plotly_js(), asked.replace("<", "\\u003c"))


def _content(url: str) -> bytes:
    kind, _, data = url.replace("&amp;", "&").partition(",")
    return base64.b64decode(data) if kind.endswith(";base64") else unquote_to_bytes(data)
