"""Rules and findings of other packages, loaded from entry points."""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Any

__all__ = ["load_plugins"]

logger = logging.getLogger(__name__)


def load_plugins(group: str, protocol: type[Any]) -> tuple[Any, ...]:
    """Return the objects that installed packages offer under an entry point group.

    A plug-in that cannot be loaded or is of the wrong kind is logged and left out: a sweep is not
    lost to somebody else's mistake.

    Args:
        group: ``sweepdiag.rules`` or ``sweepdiag.findings``.
        protocol: What each object must provide (a runtime-checkable protocol).

    Returns:
        The objects, in the order of their entry points' names. Classes are instantiated.
    """
    loaded = []
    for entry in sorted(importlib.metadata.entry_points(group=group), key=lambda e: e.name):
        try:
            found = entry.load()
            plugin = found() if isinstance(found, type) else found
        except Exception as error:  # noqa: BLE001 - other people's code may raise anything
            logger.warning("plug-in %s of %s was left out: %s", entry.name, group, error)
            continue
        if isinstance(plugin, protocol):
            loaded.append(plugin)
        else:
            logger.warning(
                "plug-in %s of %s was left out: it is no %s", entry.name, group, protocol.__name__
            )
    return tuple(loaded)
