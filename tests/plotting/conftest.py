"""One sweep for all tests of plots: its tables take a moment to make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sample_report import sample_report

if TYPE_CHECKING:
    from sweepdiag.plotting import ReportData


@pytest.fixture(scope="session")
def sweep() -> ReportData:
    return sample_report()
