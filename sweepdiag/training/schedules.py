"""Learning-rate schedules as a table of factors, computed in float64 before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from sweepdiag.records import ScheduleSettings

__all__ = ["SCHEDULES", "rate_factors"]


def rate_factors(settings: ScheduleSettings, *, epochs: int, steps_per_epoch: int) -> np.ndarray:
    """Return what the base learning rate is multiplied with at each step.

    Args:
        settings: The schedule.
        epochs: Budget of the training; the cosine ends there.
        steps_per_epoch: Optimizer steps per epoch.

    Returns:
        Factors, shape ``(epochs * steps_per_epoch,)``, float64.

    Raises:
        ConfigError: If there is no schedule of that name.
    """
    if settings.name not in SCHEDULES:
        raise ConfigError(unknown_name("schedule", settings.name, SCHEDULES))
    steps = np.arange(epochs * steps_per_epoch, dtype=np.float64)
    warmup_steps = round(settings.warmup_epochs * steps_per_epoch)
    factors = SCHEDULES[settings.name](settings, steps, warmup_steps, steps_per_epoch)
    is_warmup = steps < warmup_steps
    factors[is_warmup] = (steps[is_warmup] + 1.0) / warmup_steps
    return factors


def _constant(
    _settings: ScheduleSettings, steps: np.ndarray, _warmup_steps: int, _steps_per_epoch: int
) -> np.ndarray:
    return np.ones_like(steps)


def _step(
    settings: ScheduleSettings, steps: np.ndarray, _warmup_steps: int, steps_per_epoch: int
) -> np.ndarray:
    drops = np.floor(steps / (settings.step_epochs * steps_per_epoch) + 1e-9)
    return np.asarray(settings.step_factor**drops)


def _cosine(
    settings: ScheduleSettings, steps: np.ndarray, warmup_steps: int, _steps_per_epoch: int
) -> np.ndarray:
    n_steps = max(steps.size - warmup_steps, 1)
    progress = np.clip((steps - warmup_steps) / n_steps, 0.0, 1.0)
    half_wave = 0.5 * (1.0 + np.cos(np.pi * progress))
    return np.asarray(settings.final_fraction + (1.0 - settings.final_fraction) * half_wave)


SCHEDULES = {"constant": _constant, "step": _step, "cosine": _cosine}
"""Schedules by name."""
