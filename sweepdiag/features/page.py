"""The documentation page of the features, written from their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.features.table import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweepdiag.features.table import FeatureSpec

__all__ = ["features_page"]

_HEAD = """\
# Features of a learning curve

Written by `scripts/features-page` from `sweepdiag/features/table.py`: edit that.

In the formulas `x` are the finite values of a series in order, `n` is their number, `s` their
trailing mean over `w` values (5; 3 below 20 values; 1 below 9), and the range is
max(x[0], s[n-1]) - min(s). Features of unit 1 do not change when all losses of a curve are
multiplied by a positive number. A feature that is not defined is NaN.

## Forms

| form | where | used for |
|---|---|---|
| oracle | `compute_features(curves, form="oracle")` | plain Python, slow and obvious: the others are tested against it |
| NumPy | `compute_features(curves)` | many curves at once on the CPU |
| CUDA kernel | `array_features(...)` of CUDA tensors, or `form="cupy"` | curves that are on a GPU; needs CuPy (`pip install 'sweepdiag[gpu]'`) |
| running | `RunningFeatures` | one curve that is still growing |

All forms give the same numbers: to the last bit, but for the late slopes, whose sums may run in
another order. The tests compile the kernel's one source file with nvcc for three architectures
and with a C++ compiler for the host, and compare its features with NumPy's value by value.

**What the kernel reads.** One thread per curve. Levels, minima, counts, gaps, pairs and the metric
come from one reading of both losses with a state of constant size. The losses are read again for
the median behind `noise` (half a curve per round of a bisection that needs no memory; 7 rounds on
average at 100 points, never more than 66), for the late slope (a third, three times) and for what
is measured against noise and range (once): about 6.5 readings at 100 points, of which the first
comes from memory and the later ones from the cache as far as it reaches. Where NaN change the
width of the moving mean, the first reading is repeated. One mapping serves all sizes: below some
10^5 curves it leaves most of a GPU idle, and NumPy is good enough there.
"""  # noqa: E501 - rows of a table
_GROUPS = {
    "epochs": "Epochs",
    "loss": "Each loss, as `train_…` and `val_…`",
    "both": "Both losses together",
    "val_metric": "The validation metric",
}


def features_page() -> str:
    """Return the page, in Markdown."""
    losses = [spec for spec in FEATURES if spec.source == "train_loss"]
    rows = {source: [spec for spec in FEATURES if spec.source == source] for source in _GROUPS} | {
        "loss": losses
    }
    sections = [
        f"## {title}\n\n{_table(rows[source], prefix='train_' if source == 'loss' else '')}"
        for source, title in _GROUPS.items()
    ]
    return "\n".join([_HEAD, *sections])


def _table(specs: Iterable[FeatureSpec], *, prefix: str) -> str:
    lines = [
        "| feature | formula | unit | what it tells | also looked at by |",
        "|---|---|---|---|---|",
    ]
    for spec in specs:
        name, formula = spec.name.removeprefix(prefix), spec.formula.replace("|", "\\|")
        cells = (f"`{name}`", formula, spec.unit, spec.description, spec.reference)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
