"""Settings as YAML text that this and other readers read back as the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sweepdiag.config.scalars import read_scalar
from sweepdiag.wording import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_yaml"]

_WIDTH = 96


class _Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Quotes what only looks like text, and never writes anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def write_yaml(settings: Mapping[str, Any], *, header: str | None = None) -> str:
    """Return settings as a file holds them: a line per setting, an axis and a list on one line.

    Args:
        settings: Nested mapping of plain values.
        header: Text for the top of the file, as comments; what is not printable becomes a space.

    Returns:
        YAML. Floats carry a point (``1.0e-05``), without which some readers see text.
    """
    shaped = {key: _shaped(key, value) for key, value in settings.items()}
    body = yaml.dump(
        shaped,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=_WIDTH,
    )
    lines = [] if header is None else [f"# {clean(line)}".rstrip() for line in header.splitlines()]
    return "".join(f"{line}\n" for line in lines) + body


def _shaped(key: str, value: Any) -> Any:
    if key != "parameters":
        return value
    return {name: _Flow(block) for name, block in value.items()}


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    try:
        is_plain = read_scalar(text) == text and not _is_word_of_others(text)
    except ValueError:
        is_plain = False
    style = None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_word_of_others(text: str) -> bool:
    """Whether a reader of YAML 1.1 takes plain text for something else."""
    return text.lower() in {"yes", "no", "on", "off", "=", "<<"}


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


def _represent_flow(dumper: _Dumper, mapping: _Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items(), flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(_Flow, _represent_flow)
