"""Figures of the diagnosis benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from _bench.scores import Bins

    Confusion: TypeAlias = Mapping[str, Sequence[VerdictClass]]

__all__ = ["draw_confusions", "draw_reliability"]


def draw_confusions(confusions: Mapping[str, Confusion], path: Path) -> None:
    """Draw, per source, how many curves of each kind got each class."""
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    classes = list(VerdictClass)
    heights = [len(confusion) for confusion in confusions.values()]
    figure, axes = plt.subplots(
        len(confusions), 1, figsize=(9, 0.45 * sum(heights) + 0.9 * len(heights)),
        layout="constrained", height_ratios=heights, squeeze=False,
    )  # fmt: skip
    for ax, (name, confusion) in zip(axes[:, 0], confusions.items(), strict=True):
        rows = {
            f"{kind} ({len(found)})": [found.count(c) for c in classes]
            for kind, found in ((k, list(v)) for k, v in confusion.items())
        }
        counts = pd.DataFrame(rows, index=[str(c) for c in classes]).T
        shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
        labels = counts.astype(str).where(counts > 0, "")
        is_last = ax is axes[-1, 0]
        sns.heatmap(
            shares, annot=labels, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, ax=ax,
            linewidths=0.5, xticklabels=is_last,
        )  # fmt: skip
        ax.set_title(name, loc="left", fontsize=10)
        ax.tick_params(axis="y", rotation=0, labelsize=8)
        ax.tick_params(axis="x", rotation=30, labelsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_reliability(diagrams: Mapping[str, Bins], path: Path) -> None:
    """Draw how often verdicts of a confidence are right against that confidence."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid")
    figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    ax.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="as it should be")
    for name, bins in diagrams.items():
        confidences, agreement, sizes = zip(*bins, strict=True)
        total = sum(sizes)
        line = ax.plot(confidences, agreement, alpha=0.7, label=f"{name} ({total})")[0]
        ax.scatter(
            confidences, agreement, s=[20 + 400 * n / total for n in sizes],
            color=line.get_color(), alpha=0.6,
        )  # fmt: skip
    ax.set(xlabel="confidence", ylabel="share that agrees", xlim=(0, 1.03), ylim=(0, 1.03))
    ax.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)
