"""Jobs of two nodes with a Ray cluster, run by ``test_ray.py`` in a network of their own.

Writes what it finds as JSON into the file named by its last argument.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.slurm.bed import Bed, until
from tests.slurm.sweeps import Place

if TYPE_CHECKING:
    from collections.abc import Callable

DIGITS = ("digits", "seeds=1", "epochs=6", "execution.pack_size=4")
ON_TWO_NODES = ("--nodes", "2", "--gpus-per-node", "8", "--timeout-min", "30")
TOKEN = re.compile(r"\b[0-9a-f]{64}\b")


def whole_sweep(place: Place) -> dict[str, Any]:
    """Train on sixteen fake GPUs, and look for the token meanwhile."""
    job = place.begin(*ON_TWO_NODES, sweep=DIGITS, SWEEPDIAG_FAKE_GPUS="8")
    token_file = place.path / "run.slurm" / f"token-{job}"
    until(token_file.exists, 120)
    mode = oct(token_file.stat().st_mode & 0o777)
    until(lambda: place.n_ended() > 0, 900)
    token = token_file.read_text()
    commands = "".join(
        path.read_text(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )
    found = ended(place, job)
    return {
        **found,
        "token_mode": mode,
        "token_is_one": TOKEN.fullmatch(token) is not None,
        "token_in_commands": token in commands,
        "token_in_files": token in place.everything_written(),
        "token_left": token_file.exists(),
        "scratch_left": Path(f"/tmp/sweepdiag-{job}").exists(),
    }


def stopped_and_requeued(place: Place) -> dict[str, Any]:
    """Stop the job as before its time limit, once."""
    job = place.begin(*ON_TWO_NODES, sweep=DIGITS, SWEEPDIAG_FAKE_GPUS="8")
    until(lambda: place.n_ended() > 10, 900)
    place.bed.call("scancel", "--signal=USR2", "--batch", job)
    until(lambda: place.bed.show(job)["Restarts"] == "1", 120)
    return ended(place, job)


def edited(place: Place, old: str, new: str) -> dict[str, Any]:
    """Submit the script that a person has edited."""
    shown = place.submit(*ON_TWO_NODES, "--dry-run", sweep=DIGITS, SWEEPDIAG_FAKE_GPUS="8").stdout
    script = place.path / "edited.sbatch"
    text = shown[shown.index("#!") :].partition("\n# would be")[0]
    assert old in text
    script.write_text(text.replace(old, new))
    (place.path / "run.slurm").mkdir()
    environment = {**place.bed.environment, "SWEEPDIAG_FAKE_GPUS": "8"}
    job = place.bed.call_in(place.path, environment, "sbatch", "--parsable", str(script)).strip()
    return ended(place, job)


def bad_number_of_gpus(place: Place) -> dict[str, Any]:
    return edited(place, '--num-gpus="${SLURM_GPUS_ON_NODE:-0}"', "--num-gpus=several")


def taken_port(place: Place) -> dict[str, Any]:
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        found = edited(place, "port=$((20000 + SLURM_JOB_ID % 10000))", f"port={port}")
    return {**found, "port": port}


def missing_token(place: Place) -> dict[str, Any]:
    return edited(
        place, '(umask 077; "$python" -c \'import secrets', "(true; true 'import secrets"
    )


def ended(place: Place, job: str) -> dict[str, Any]:
    """Return how the job ended, and what its log and the logs of Ray say."""
    shown = place.bed.wait_for_state(job, "COMPLETED", "FAILED", "CANCELLED", timeout_s=1500)
    logs = (place.path / "run.slurm").glob(f"ray-{job}*")
    return {
        "state": shown["JobState"],
        "exit": shown["ExitCode"],
        "restarts": shown["Restarts"],
        "log": place.log(job),
        "ray": {log.name: log.read_text(errors="replace") for log in logs},
    }


SCENARIOS: dict[str, Callable[[Place], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        bad_number_of_gpus,
        taken_port,
        missing_token,
        whole_sweep,
        stopped_and_requeued,
    )
}


def main(root: Path, found_file: Path, *names: str) -> None:
    bed = Bed()
    try:
        bed.start()
        found = {}
        for name in names:
            place = Place(root / name, bed)
            place.path.mkdir()
            found[name] = SCENARIOS[name](place)
            bed.cancel_jobs()
            bed.wait_for_idle_nodes()
        found_file.write_text(json.dumps(found))
    finally:
        bed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
