"""The built-in workload ``fashion_mnist``: 60,000 images of clothes, 28 by 28 pixels, ten classes.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017. The files are read where they lie; nothing is downloaded.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ConfigError, WorkloadError, unknown_name
from sweepdiag.workloads._idx import read_idx
from sweepdiag.workloads._models import cnn, mlp
from sweepdiag.workloads._split import choose_stratified
from sweepdiag.workloads.base import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEBIAN_FOLDER", "build", "find_folder"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

_SIDE = 28
_N_CLASSES = 10
_MODELS = ("mlp", "cnn")
_VALIDATIONS = ("hold_out", "official_test")
_OTHERS_PER_VALIDATION = 4
_TRAINING_STREAM = 2

_Samples = tuple["NDArray[np.float32]", "NDArray[np.int64]"]


def build(
    *,
    path: str | None = None,
    model: str = "mlp",
    n_train: int | None = None,
    n_validation: int | None = None,
    validation: str = "hold_out",
    subset_seed: int = 0,
) -> Workload:
    """Return the workload ``fashion_mnist``, or ``fashion_mnist-cnn``.

    The official test images stay untouched unless asked for: validation samples, on which a sweep
    chooses, are held out of the 60,000 training images.

    Args:
        path: Folder of the IDX files, ``.gz`` or not; without it ``$SWEEPDIAG_DATA``, its
            subfolder ``fashion-mnist`` and Debian's folder are tried.
        model: ``mlp`` (784-capacity-capacity-10) or ``cnn`` (two convolutions).
        n_train: Training samples, a stratified subset; ``None``: all that do not validate.
        n_validation: Validation samples, a stratified subset. ``None``: a quarter of ``n_train``
            if that is given, else what the sweep's ``split`` settings hold out, or all the
            official test images.
        validation: ``hold_out``, or ``official_test`` to validate on the 10,000 test images.
        subset_seed: Seed of the choice of subsets.

    Returns:
        The workload, pixels scaled to [0, 1].

    Raises:
        ConfigError: If a parameter is out of range.
    """
    for kind, name, valid in (("model", model, _MODELS), ("validation", validation, _VALIDATIONS)):
        if name not in valid:
            raise ConfigError(unknown_name(f"fashion_mnist {kind}", name, valid))
    folder = find_folder(path)
    samples = _read_samples(folder, "train", is_flat=model == "mlp")
    held_out: _Samples | None
    if validation == "official_test":
        tests = _read_samples(folder, "t10k", is_flat=model == "mlp")
        train = _subset(samples, "n_train", n_train, subset_seed)
        held_out = _subset(tests, "n_validation", n_validation, subset_seed)
    else:
        train, held_out = _disjoint_subsets(samples, n_train, n_validation, subset_seed)
    return Workload(
        name="fashion_mnist" if model == "mlp" else f"fashion_mnist-{model}",
        train=train,
        validation=held_out,
        model=partial(mlp, _SIDE**2, _N_CLASSES)
        if model == "mlp"
        else partial(cnn, _SIDE, _N_CLASSES),
        axes={
            "lr": {"min": 1e-4, "max": 1.0, "distribution": "log_uniform_values", "n": 8},
            "batch_size": [64, 256],
            "capacity": [16, 64, 256] if model == "mlp" else [4, 8, 16],
        },
        settings={"epochs": 10, "seeds": 1},
    )


def find_folder(path: str | None = None) -> Path:
    """Return the folder that holds the training images.

    Args:
        path: The only folder to look in, if given.

    Returns:
        The first folder that has the file of training images.

    Raises:
        WorkloadError: If there is none; the message says how to get the files.
    """
    data = os.environ.get("SWEEPDIAG_DATA")
    if path is not None:
        folders = [Path(path).expanduser()]
    else:
        folders = [Path(data), Path(data) / "fashion-mnist"] if data else []
        folders.append(DEBIAN_FOLDER)
    for folder in folders:
        if _idx_file(folder, "train-images-idx3-ubyte") is not None:
            return folder
    message = (
        "fashion_mnist has no data: train-images-idx3-ubyte(.gz) is not in "
        f"{' or '.join(map(str, folders))}. On Debian and Ubuntu `apt install "
        "dataset-fashion-mnist` puts it there; elsewhere download the four files from "
        "https://github.com/zalandoresearch/fashion-mnist and pass path=FOLDER or set "
        "SWEEPDIAG_DATA=FOLDER"
    )
    raise WorkloadError(message)


def _idx_file(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_samples(folder: Path, part: str, *, is_flat: bool) -> _Samples:
    images = _read(folder, f"{part}-images-idx3-ubyte", 3)
    classes = _read(folder, f"{part}-labels-idx1-ubyte", 1)
    if images.shape != (len(classes), _SIDE, _SIDE) or classes.max(initial=0) >= _N_CLASSES:
        message = (
            f"{folder} does not hold Fashion-MNIST: {part} has images of shape {images.shape} and "
            f"{len(classes)} labels up to {classes.max(initial=0)}, expected (n, 28, 28) and n "
            "labels up to 9"
        )
        raise WorkloadError(message)
    shape = (len(images), _SIDE**2) if is_flat else (len(images), 1, _SIDE, _SIDE)
    return (images.astype(np.float32) / np.float32(255)).reshape(shape), classes.astype(np.int64)


def _read(folder: Path, name: str, n_dimensions: int) -> NDArray[np.uint8]:
    path = _idx_file(folder, name)
    if path is None:
        message = f"fashion_mnist lacks {name}(.gz) in {folder}"
        raise WorkloadError(message)
    return read_idx(path, n_dimensions=n_dimensions)


def _disjoint_subsets(
    samples: _Samples, n_train: int | None, n_validation: int | None, seed: int
) -> tuple[_Samples, _Samples | None]:
    """Choose validation first, then training from the rest; no subsets without a size."""
    inputs, classes = samples
    if n_train is not None:
        _check_size("n_train", n_train, len(classes) - 1)
    if n_validation is None:
        if n_train is None:
            return samples, None
        n_validation = max(n_train // _OTHERS_PER_VALIDATION, 1)
    _check_size("n_validation", n_validation, len(classes) - 1)
    validating = choose_stratified(classes, n_validation, seed=seed)
    others = np.setdiff1d(np.arange(len(classes)), validating)
    rest = (inputs[others], classes[others])
    return _subset(rest, "n_train", n_train, seed), (inputs[validating], classes[validating])


def _subset(samples: _Samples, name: str, n_chosen: int | None, seed: int) -> _Samples:
    if n_chosen is None:
        return samples
    inputs, classes = samples
    _check_size(name, n_chosen, len(classes))
    chosen = choose_stratified(classes, n_chosen, seed=seed, stream=_TRAINING_STREAM)
    return inputs[chosen], classes[chosen]


def _check_size(name: str, size: Any, n_available: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= n_available:
        message = f"fashion_mnist {name} must be in [1, {n_available}], got {size!r}"
        raise ConfigError(message)
