"""Configuration of a sweep: one validated object from a YAML file, options, overrides and Python.

A file says what is trained, over which axes, and how::

    workload: digits
    parameters:
      lr: {min: 1e-4, max: 10, n: 8}
      batch_size: [16, 64, 256]
    seeds: 3
    epochs: 30

``load_config`` reads it, or ``read_settings`` and ``validate_settings`` in two stages. What is
wrong is said all at once, each with file, line and column, the rule and the value.
"""

from sweepdiag.config.axes import RESERVED_COLUMNS, ParameterSpec
from sweepdiag.config.axis_options import parse_axis
from sweepdiag.config.models import (
    JUDGING_SETTINGS,
    MAX_TRIALS,
    DiagnosisConfig,
    EvaluationConfig,
    ExecutionConfig,
    OptimizerConfig,
    ScheduleConfig,
    SplitConfig,
    SweepConfig,
)
from sweepdiag.config.schema import json_schema
from sweepdiag.config.settings import Settings, load_config, read_settings, validate_settings

__all__ = [
    "JUDGING_SETTINGS",
    "MAX_TRIALS",
    "RESERVED_COLUMNS",
    "DiagnosisConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "OptimizerConfig",
    "ParameterSpec",
    "ScheduleConfig",
    "Settings",
    "SplitConfig",
    "SweepConfig",
    "json_schema",
    "load_config",
    "parse_axis",
    "read_settings",
    "validate_settings",
]
