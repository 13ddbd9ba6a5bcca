import os
import subprocess
import sys

import pytest

SCRIPT = """
import logging, torch
logging.basicConfig()
if {computes}:
    torch.rand(64, 64) @ torch.rand(64, 64)
from sweepdiag.training import fix_summation_order
fix_summation_order()
"""


@pytest.mark.parametrize("computes", [False, True])
def test_a_process_that_computed_before_is_warned_of(computes):
    import torch

    if computes and not torch.backends.mkl.is_available():
        pytest.skip("torch was built without MKL, which alone needs the switch")
    environment = {k: v for k, v in os.environ.items() if k != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(computes=computes)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert ("may differ in their last bits" in done.stderr) is computes
