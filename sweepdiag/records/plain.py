"""Records as JSON."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain"]


def plain(record: Any) -> Any:
    """Return a record as dicts, lists and scalars, ready for JSON.

    Non-finite floats become the strings ``NaN``, ``Infinity`` and ``-Infinity``, since JSON has no
    numbers for them.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: plain(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple | set | frozenset):
        return [plain(value) for value in record]
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, float) and not math.isfinite(record):
        return "NaN" if math.isnan(record) else ("Infinity" if record > 0 else "-Infinity")
    return record
