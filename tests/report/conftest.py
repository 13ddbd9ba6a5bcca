"""One sweep for all tests of reports: its tables take a moment to make."""

from __future__ import annotations

import pytest

from sweepdiag.plotting import ReportData
from tests.sample_report import sample_report


@pytest.fixture(scope="session")
def sweep() -> ReportData:
    return sample_report()
