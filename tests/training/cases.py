"""Trials and settings that several files train, and ways to train them."""

from sweepdiag.records import OptimizerSettings, ScheduleSettings
from sweepdiag.training import PackTrainer
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.plans import Tier
from tests.training.conftest import curves, prepared, train, trial

OPTIMIZERS = [
    OptimizerSettings(momentum=0.0),
    OptimizerSettings(momentum=0.9),
    OptimizerSettings(momentum=0.9, nesterov=True, weight_decay=1e-2),
    OptimizerSettings(name="adam", weight_decay=1e-2),
    OptimizerSettings(name="adamw", weight_decay=1e-2),
]
SCHEDULES = [
    ScheduleSettings(),
    ScheduleSettings(name="step", step_epochs=1, step_factor=0.3),
    ScheduleSettings(name="cosine", warmup_epochs=1),
]


MIXED = [
    trial(lr, seed=seed, capacity=16, momentum=momentum, weight_decay=decay)
    for seed, (lr, momentum, decay) in enumerate(
        [(0.01, 0.0, 0.0), (0.1, 0.9, 0.0), (0.03, 0.9, 0.1), (1e30, 0.5, 0.0)]
    )
]


def train_by(monkeypatch, tier, packed, workload=None, settings=None, width=64):
    """Train a pack in a way that is not left to its speed on this machine."""
    workload = workload or prepared()

    def model_of(trainer, packed, timetable):
        if tier is Tier.UNFUSED:
            return None, 1, 1
        model = trainer._build(packed.trials[0], 1).model
        fused = FusedModel(model, prepared=workload, is_traced=tier is Tier.TRACED)
        return fused, width, 1

    with monkeypatch.context() as patch:
        patch.setattr(PackTrainer, "_fused_model", model_of)
        return curves(train(packed, workload=workload, settings=settings))
