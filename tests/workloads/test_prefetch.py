import functools
import threading

import pytest
import torch

from sweepdiag.workloads._prefetch import prefetched


def jobs(function, n):
    return [functools.partial(function, number) for number in range(n)]


def data_threads():
    return [t for t in threading.enumerate() if t.name.startswith("sweepdiag-data")]


@pytest.mark.parametrize("n_ahead", [0, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_results_come_in_order(n, n_ahead):
    assert list(prefetched(jobs(lambda k: k * k, n), n_ahead=n_ahead)) == [k * k for k in range(n)]


@pytest.mark.parametrize("n_ahead", [0, 2])
def test_no_more_is_done_ahead_than_asked(n_ahead):
    started = []
    for n_used, _ in enumerate(prefetched(jobs(started.append, 9), n_ahead=n_ahead), start=1):
        assert len(started) <= n_used + n_ahead


def test_nothing_runs_beside_who_uses_the_result_where_nothing_is_done_ahead():
    is_used = threading.Event()
    seen = []
    for _ in prefetched(jobs(lambda _: seen.append(is_used.is_set()), 20), n_ahead=0):
        is_used.set()
        threading.Event().wait(0.001)
        is_used.clear()
    assert seen == [False] * 20


def test_an_error_is_raised_where_its_result_would_be():
    results = prefetched(jobs(lambda k: 6 // (3 - k), 9), n_ahead=2)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not data_threads()


def test_closing_early_leaves_no_thread():
    results = prefetched(jobs(lambda k: k, 9), n_ahead=2)
    next(results)
    assert len(data_threads()) == 1
    results.close()
    assert not data_threads()


def test_data_keep_their_tiny_numbers():
    torch.set_flush_denormal(True)
    try:
        (tiny,) = prefetched([lambda: float(torch.tensor(1e-30) * 1e-10)], n_ahead=0)
    finally:
        torch.set_flush_denormal(False)
    assert tiny > 0
