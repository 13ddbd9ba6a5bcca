"""The JSON Schema of a sweep's file, for editors."""

from __future__ import annotations

from typing import Any

from sweepdiag.config.models import SweepConfig

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a sweep's file, its short forms included.

    It holds what a schema can say: names, types, ranges. That ``min`` is below ``max``, or that a
    sampler goes with a setting, is checked when the file is loaded.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SweepConfig.model_json_schema(),
        "title": "sweepdiag sweep",
    }
