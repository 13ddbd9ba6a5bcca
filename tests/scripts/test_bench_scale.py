import json
import math
import subprocess
from pathlib import Path

import pytest
from _bench.results import Results
from _bench.scale import GROWING, add_growth, chosen_sizes

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.slow
def test_the_quick_form_measures_a_whole_sweep(tmp_path):
    path = tmp_path / "scale.json"
    done = subprocess.run(
        [ROOT / "scripts" / "bench-scale", "--quick", "--trials", "250", "--json", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert "8 fake GPUs" in written["device"]
    assert {entry["row"] for entry in written["rows"]} == {"250 trials of 20 points"}
    found = {entry["column"]: entry["value"] for entry in written["rows"]}
    assert {"planning", "starting Ray", "training", "judging curves", *GROWING} <= set(found)
    assert all(math.isfinite(value) and value > 0 for value in found.values())
    # 250 starts, 5,000 points and 250 ends, some 150 bytes each.
    assert 0.5 < found["journal"] < 1.5
    stages = ("planning", "starting Ray", "training", "reading curves", "judging curves",
              "drawing figures", "writing the report")  # fmt: skip
    assert found["in all"] == pytest.approx(sum(found[stage] for stage in stages))
    assert "250 trials of 20 points" in done.stdout


def test_sizes_are_measured_once_and_from_small_to_large():
    assert chosen_sizes([1000, 250, 250], is_quick=False) == (250, 1000)
    assert chosen_sizes(None, is_quick=True) == (1000,)


def test_growth_is_told_as_an_exponent():
    results = Results(device="none")
    for n_trials, value in ((250, 3.0), (1000, 12.0)):
        for column in GROWING:
            results.add(f"{n_trials:,} trials of 20 points", column, value, "s")
    add_growth(results, (250, 1000))
    grown = [entry for entry in results.rows if entry["unit"] == "exponent"]
    assert {entry["row"] for entry in grown} == {"growth, 250 to 1,000 trials"}
    assert [entry["column"] for entry in grown] == list(GROWING)
    assert all(entry["value"] == pytest.approx(1.0) for entry in grown)
