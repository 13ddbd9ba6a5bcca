"""Reports of a sweep: a short text for the terminal and a page for the browser."""

from __future__ import annotations

from sweepdiag.report.html import render_html
from sweepdiag.report.text import render_text

__all__ = ["render_html", "render_text"]
