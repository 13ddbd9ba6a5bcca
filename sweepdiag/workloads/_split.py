"""Which samples validate, and which training samples are evaluated.

Only the bits that PCG64 promises never to change are used, so that a split is the same on every
platform and with every version of NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError, WorkloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HOLD_OUT", "SUBSET", "choose_stratified", "hold_out"]

HOLD_OUT, SUBSET = 0, 1
"""Names of the random streams, so that the choices made from one seed do not depend."""


def hold_out(
    classes: NDArray[np.int64], *, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the samples that train and of those that validate.

    Each class is split by the same fraction, to within one sample. A class of two or more keeps
    one on either side, a class of one trains.

    Args:
        classes: Class of each sample; all the same for a random split.
        fraction: Share that validates, in (0, 1).
        seed: Seed of the choice.

    Returns:
        Two ascending index arrays, disjoint and complete.

    Raises:
        ConfigError: If the fraction is out of range.
        WorkloadError: If there are too few samples to keep one on either side.
    """
    if not 0 < fraction < 1:
        message = f"split.validation_fraction must be in (0, 1), got {fraction}"
        raise ConfigError(message)
    ids, counts = _class_counts(classes)
    n_samples = len(classes)
    quotas = _quotas(counts, int(np.floor(fraction * n_samples + 0.5)))
    quotas = np.where(counts > 1, np.clip(quotas, 1, np.maximum(counts - 1, 1)), 0)
    if quotas.sum() == 0:
        what = "no class has two samples" if n_samples > 1 else "there is one sample only"
        message = (
            f"train cannot be split into training and validation samples ({what}); pass "
            "validation=(inputs, targets)"
        )
        raise WorkloadError(message)
    validating = _pick(ids, quotas, seed, HOLD_OUT)
    return np.setdiff1d(np.arange(n_samples), validating), validating


def choose_stratified(
    classes: NDArray[np.int64], n_chosen: int, *, seed: int, stream: int = SUBSET
) -> NDArray[np.int64]:
    """Return the indices of a subset that has every class in proportion, to within one sample.

    Args:
        classes: Class of each sample; all the same for a random subset.
        n_chosen: Size of the subset; all samples if there are not more.
        seed: Seed of the choice.
        stream: Which of the seed's streams to use.

    Returns:
        Ascending indices.
    """
    if n_chosen >= len(classes):
        return np.arange(len(classes))
    ids, counts = _class_counts(classes)
    return _pick(ids, _quotas(counts, n_chosen), seed, stream)


def _class_counts(classes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    _, ids, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return ids, counts


def _quotas(counts: NDArray[np.int64], n_chosen: int) -> NDArray[np.int64]:
    """Share ``n_chosen`` among the classes by the largest remainders, in whole numbers."""
    quotas, remainders = np.divmod(counts * n_chosen, counts.sum())
    n_missing = n_chosen - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:n_missing]] += 1
    return quotas


def _pick(
    ids: NDArray[np.int64], quotas: NDArray[np.int64], seed: int, stream: int
) -> NDArray[np.int64]:
    """Return, in ascending order, as many samples of each class as its quota says.

    Raises:
        ConfigError: If the seed is negative.
    """
    if seed < 0:
        message = f"split.seed must be 0 or more, got {seed}"
        raise ConfigError(message)
    generator = np.random.PCG64(np.random.SeedSequence([seed, stream]))
    shuffled = np.argsort(generator.random_raw(len(ids)), kind="stable")
    by_class = shuffled[np.argsort(ids[shuffled], kind="stable")]
    sorted_ids = ids[by_class]
    rank = np.arange(len(ids)) - np.searchsorted(sorted_ids, sorted_ids)
    return np.sort(by_class[rank < quotas[sorted_ids]])
