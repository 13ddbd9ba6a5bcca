"""Sentences that the terminal and the page share."""

from sweepdiag.records import StopEpoch
from sweepdiag.report.summary import describe_stop


def test_where_nothing_says_when_to_stop_no_epoch_is_named() -> None:
    stop = StopEpoch(
        config_id="a",
        epoch=3.16,
        budget_epochs=3.16,
        saved_fraction=0.0,
        regret=float("nan"),
        reason="there is no finite validation loss, so nothing says when to stop",
    )
    assert describe_stop(stop, "validation loss") == (
        "No stop epoch: there is no finite validation loss, so nothing says when to stop."
    )
