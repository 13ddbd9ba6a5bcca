import json
import math
import pickle

from sweepdiag.records import Axis, Finding, FindingState, Scale, Severity, plain


def finding(**numbers):
    return Finding(
        code="SD101",
        name="learning-rate-too-high",
        state=FindingState.TIP,
        severity=Severity.INFO,
        title="t",
        evidence="e",
        numbers=numbers,
    )


def test_a_record_becomes_json_without_nan():
    content = plain(finding(low=math.nan, high=-math.inf, edges=({"lr": 0.1},)))
    assert json.loads(json.dumps(content, allow_nan=False))["numbers"] == {
        "low": "NaN",
        "high": "-Infinity",
        "edges": [{"lr": 0.1}],
    }
    assert content["state"] == "tip"


def test_records_travel_to_workers():
    axis = Axis(name="lr", values=(0.1, 1.0), scale=Scale.LOG, is_structural=False)
    assert pickle.loads(pickle.dumps(axis)) == axis
