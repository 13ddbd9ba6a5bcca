"""x"""

from __future__ import annotations


def render_html(data):
    return ""
