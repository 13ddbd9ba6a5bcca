"""The page in a real browser: charts are drawn and linked, and the policy lets them."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sweepdiag.report import render_html
from tests.conftest import require

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser

# Clicks a cell of another class as a mouse would, and writes what is drawn into the page.
PROBE = """<script>
(async () => {
  const settle = () => new Promise((resolve) => setTimeout(resolve, 300));
  const items = (type) => {
    const found = [];
    const walk = (mark, x, y) => {
      for (const item of mark.items ?? []) {
        if (mark.marktype === type) found.push([item, x, y]);
        if (mark.marktype === "group")
          for (const inner of item.items ?? []) walk(inner, x + (item.x ?? 0), y + (item.y ?? 0));
      }
    };
    walk(explorerView.scenegraph().root, ...explorerView.origin());
    return found;
  };
  const drawn = () =>
    [...new Set(items("line").map(([item]) => item.datum?.where).filter(Boolean))].join(";");
  while (!window.explorerView) await settle();
  const before = drawn();
  const [cell, x, y] = items("rect").find(([item]) => item.datum?.class === "healthy");
  const canvas = document.querySelector("#explorer canvas");
  const box = canvas.getBoundingClientRect();
  const place = { bubbles: true, view: window,
    clientX: box.x + x + cell.x + cell.width / 2, clientY: box.y + y + cell.y + cell.height / 2 };
  for (const name of ["pointermove", "pointerdown", "mousedown", "mouseup", "click"])
    canvas.dispatchEvent(new MouseEvent(name, place));
  await settle();
  return before + "|" + drawn();
})().catch(String).then((text) => {
  const note = document.createElement("p");
  note.id = "probe";
  note.textContent = text;
  document.body.append(note);
});
</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    return chromium_path()


def chromium_path() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    require("browser", path is not None, "chromium is not on the PATH")
    return str(path)


def dump_dom(chromium: str, page: str, folder: Path) -> str:
    (folder / "report.html").write_text(page, encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--window-size=1280,2000",
        "--virtual-time-budget=20000", "--dump-dom", (folder / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_the_charts_are_drawn_under_the_pages_own_policy(chromium, sweep, tmp_path):
    dom = dump_dom(chromium, render_html(sweep), tmp_path)
    assert 'class="vega-embed' in dom
    assert re.search(r"<canvas[^>]*class=\"marks\"", dom)


def test_a_click_on_a_cell_shows_its_curves(chromium, sweep, tmp_path):
    page = re.sub(r"<meta http-equiv[^>]*>", "", render_html(sweep))
    head, end = page.rsplit("</body>", 1)
    dom = dump_dom(chromium, f"{head}{PROBE}</body>{end}", tmp_path)
    (found,) = re.findall(r'<p id="probe">(.*?)</p>', dom)
    before, after = found.split("|")
    assert before == "lr 0.1, batch_size 64, capacity 64"
    assert after == "lr 0.01, batch_size 16, capacity 16"
