import contextlib
import os

import pytest

# A bare GPU machine may lack it, and has only tests that need none.
with contextlib.suppress(ImportError):
    import hypothesis

    # No test fails for being slow: how fast a machine is says nothing about the code.
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")


# No test looks into the cache of whoever runs it, nor writes into it.
os.environ["SWEEPDIAG_CACHE_DIR"] = "off"


def require(what: str, present: bool, reason: str) -> None:
    """Skip where something is missing, or fail if SWEEPDIAG_REQUIRE says that it must be there."""
    if present:
        return
    if what in os.environ.get("SWEEPDIAG_REQUIRE", "").split(","):
        pytest.fail(f"SWEEPDIAG_REQUIRE asks for {what}: {reason}")
    pytest.skip(reason)


@pytest.fixture
def cuda() -> str:
    """A CUDA device."""
    import torch

    require("gpu", torch.cuda.is_available(), "no CUDA device")
    return "cuda:0"
