import numpy as np
import pytest
import torch

from sweepdiag.errors import ConfigError
from sweepdiag.records import ScheduleSettings
from sweepdiag.training.schedules import rate_factors


def factors(epochs=4, steps_per_epoch=5, **settings):
    return rate_factors(
        ScheduleSettings(**settings), epochs=epochs, steps_per_epoch=steps_per_epoch
    )


def test_constant_is_one_everywhere():
    np.testing.assert_array_equal(factors(), np.ones(20))


def test_step_drops_at_the_epoch():
    found = factors(name="step", step_epochs=2, step_factor=0.1)
    np.testing.assert_allclose(found, [1.0] * 10 + [0.1] * 10)


def test_cosine_agrees_with_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    theirs = []
    for _ in range(20):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(factors(name="cosine", final_fraction=0.1), theirs, rtol=1e-12)


def test_warmup_rises_to_one_and_the_cosine_begins_behind_it():
    found = factors(name="cosine", warmup_epochs=1)
    np.testing.assert_allclose(found[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[5] == 1.0
    assert np.all(np.diff(found[5:]) < 0)


def test_an_unknown_schedule_is_named():
    with pytest.raises(ConfigError, match=r"unknown schedule 'cosinus'\. Did you mean 'cosine'"):
        factors(name="cosinus")
