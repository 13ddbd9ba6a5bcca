"""Curve features per second: sweepdiag's NumPy form against other packages, on one core.

A curve is a pair of training and validation loss of 100 points. Packages that describe one series
are called for both. Each figure is given in curves and in features per second, since packages
compute different numbers of features. With --gpu: the CUDA kernel's rate and its memory traffic
against a copy on the same device.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from _bench.results import Results, add_options, cpu_name
from sweepdiag.features import FEATURES, CurveArrays, RunningFeatures, compute_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_N_POINTS = 100
_SAMPLE_S = 2.0
_GPU_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)


def curves_of(n_curves: int) -> CurveArrays:
    """Return noisy falling losses, with overfitting in half of them."""
    rng = np.random.default_rng(0)
    shape = (n_curves, _N_POINTS)
    place = np.arange(_N_POINTS) / _N_POINTS
    train = np.exp(-rng.uniform(0, 5, (n_curves, 1)) * place) + 0.1
    val = train + 0.1 + rng.choice([0.0, 1.0], (n_curves, 1)) * np.maximum(place - 0.5, 0)
    return CurveArrays(
        run_ids=tuple(map(str, range(n_curves))),
        epochs=np.broadcast_to(np.arange(_N_POINTS, dtype=np.float64), shape),
        train_loss=train + 0.01 * rng.standard_normal(shape),
        val_loss=val + 0.02 * rng.standard_normal(shape),
        val_metric=np.full(shape, np.nan),
        lengths=np.full(n_curves, _N_POINTS),
    )


def sixteen_features(curves: CurveArrays) -> np.ndarray:
    """Return 16 features as one would write them down at once in NumPy."""
    columns = []
    for x in (curves.train_loss, curves.val_loss):
        steps = np.diff(x, axis=1)
        late = x[:, -x.shape[1] // 3 :]
        t = np.arange(late.shape[1]) - (late.shape[1] - 1) / 2
        columns += [
            x[:, 0], x[:, -1], x.min(axis=1), x.argmin(axis=1), x.max(axis=1),
            late @ t / (t @ t), steps.std(axis=1), (steps > 0).mean(axis=1),
        ]  # fmt: skip
    return np.stack(columns, axis=1)


def running(curves: CurveArrays) -> None:
    """Ask for the features after every evaluation."""
    for i in range(curves.n_curves):
        state = RunningFeatures()
        for j in range(curves.n_points):
            state.append(curves.epochs[i, j], curves.train_loss[i, j], curves.val_loss[i, j])
            state.features()


def catch22() -> Callable[[CurveArrays], object]:
    import pycatch22

    def describe(curves: CurveArrays) -> object:
        series = [x for pair in (curves.train_loss, curves.val_loss) for x in pair.tolist()]
        return [pycatch22.catch22_all(x) for x in series]

    return describe


def tsfresh(settings: str) -> Callable[[CurveArrays], object]:
    import pandas as pd
    from tsfresh import extract_features
    from tsfresh.feature_extraction import settings as all_settings

    parameters = getattr(all_settings, settings)()

    def describe(curves: CurveArrays) -> object:
        table = pd.DataFrame(
            {
                "id": np.repeat(np.arange(curves.n_curves), curves.n_points),
                "epoch": curves.epochs.ravel(),
                "train": curves.train_loss.ravel(),
                "val": curves.val_loss.ravel(),
            }
        )
        return extract_features(
            table, column_id="id", column_sort="epoch", default_fc_parameters=parameters,
            n_jobs=0, disable_progressbar=True,
        )  # fmt: skip

    return describe


def n_tsfresh_features(settings: str) -> int:
    return int(tsfresh(settings)(curves_of(2)).shape[1])  # type: ignore[attr-defined]


def candidates() -> dict[str, tuple[Callable[[CurveArrays], object], int]]:
    """Return what is measured and its features per curve; says what cannot be imported."""
    found: dict[str, tuple[Callable[[CurveArrays], object], int]] = {
        "sweepdiag_numpy": (compute_features, len(FEATURES)),
        "numpy_16_features": (sixteen_features, 16),
        "python_loop": (lambda curves: compute_features(curves, form="oracle"), len(FEATURES)),
    }
    optional = {
        "pycatch22": lambda: (catch22(), 2 * 22),
        "tsfresh_minimal": lambda: (
            tsfresh("MinimalFCParameters"),
            n_tsfresh_features("MinimalFCParameters"),
        ),
        "tsfresh_efficient": lambda: (
            tsfresh("EfficientFCParameters"),
            n_tsfresh_features("EfficientFCParameters"),
        ),
    }
    for name, make in optional.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def rate(describe: Callable[[CurveArrays], object], curves: CurveArrays) -> float:
    """Return curves per second: of all curves, or of as many as take about two seconds."""
    n = min(curves.n_curves, 8)
    while n < curves.n_curves:
        sample = curves.select(slice(0, n))
        if timed(partial(describe, sample)) * 4 > _SAMPLE_S:
            break
        n = min(n * 4, curves.n_curves)
    sample = curves.select(slice(0, n)) if n < curves.n_curves else curves
    return n / statistics.median(timed(lambda: describe(sample)) for _ in range(3))


def cpu_rates(n_curves: int) -> Iterator[tuple[str, float, str]]:
    """Yield the figures of one size: column, value, unit."""
    curves, per_feature = curves_of(n_curves), {}
    for column, (describe, n_features) in candidates().items():
        curves_per_s = rate(describe, curves)
        per_feature[column] = curves_per_s * n_features
        yield column, curves_per_s, "curves/s"
        yield f"{column}_features", per_feature[column], "features/s"
    for column, value in per_feature.items():
        if column != "sweepdiag_numpy":
            yield f"per_feature_over_{column}", per_feature["sweepdiag_numpy"] / value, "x"


def running_rate() -> float:
    curves = curves_of(5)
    return curves.n_curves * curves.n_points / timed(lambda: running(curves))


def gpu_rates(n_curves: int) -> Iterator[tuple[str, float, str]]:
    """Yield the kernel's figures: losses in float32, time-major, one row of epochs for all."""
    import torch

    from sweepdiag.features import array_features

    generator = torch.Generator("cuda").manual_seed(0)
    losses = [
        torch.rand(_N_POINTS, n_curves, device="cuda", generator=generator).T for _ in range(2)
    ]
    epochs = torch.arange(_N_POINTS, dtype=torch.float64, device="cuda").expand(n_curves, -1)
    kernel_s = gpu_seconds(lambda: array_features(epochs, *losses))
    n_bytes = n_curves * (_N_POINTS * 2 * 4 + len(FEATURES) * 8)
    source = torch.empty(max(n_bytes // 2, 2**20), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy_s = gpu_seconds(lambda: target.copy_(source))
    copy_rate = 2 * source.numel() / copy_s
    yield "kernel", n_curves / kernel_s, "curves/s"
    yield "kernel_features", n_curves * len(FEATURES) / kernel_s, "features/s"
    yield "kernel_traffic", n_bytes / kernel_s / 1e9, "GB/s"
    yield "copy_traffic", copy_rate / 1e9, "GB/s"
    yield "kernel_share_of_copy", n_bytes / kernel_s / copy_rate, "x"


def gpu_seconds(function: Callable[[], object], n_calls: int = 20) -> float:
    """Return the time of one call, of many queued ones, after a first that compiles."""
    import torch

    function()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(n_calls):
        function()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / n_calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser, quick="up to 10^4 curves (10^6 on a GPU)")
    parser.add_argument("--gpu", action="store_true", help="measure the CUDA kernel instead")
    arguments = parser.parse_args()
    if arguments.gpu:
        from _bench.results import device_name

        results = Results(device=device_name())
        for n_curves in _GPU_SIZES[:4] if arguments.quick else _GPU_SIZES:
            for column, value, unit in gpu_rates(n_curves):
                results.add(f"gpu_{n_curves}_curves", column, value, unit)
            results.write(arguments.json)
            print(results.last(), flush=True)
    else:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        results = Results(device=f"{cpu_name()}, one core")
        for exponent in (3, 4) if arguments.quick else (3, 4, 5, 6):
            for column, value, unit in cpu_rates(10**exponent):
                results.add(f"{10**exponent}_curves", column, value, unit)
        results.add("one_growing_curve", "sweepdiag_running", running_rate(), "evaluations/s")
    results.write(arguments.json)
    print(results.table())


if __name__ == "__main__":
    main()
