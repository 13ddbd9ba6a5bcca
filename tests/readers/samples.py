"""Logs as the libraries write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Keras 3.15, keras.callbacks.CSVLogger: three epochs of a run, and of one that diverged.
KERAS = """epoch,accuracy,loss,val_accuracy,val_loss
0,0.5600000023841858,1.3638434410095215,0.6299999952316284,0.21813400089740753
1,0.6899999976158142,0.19118183851242065,0.7200000286102295,0.16464506089687347
2,0.7450000047683716,0.1620103269815445,0.7599999904632568,0.15010064840316772
"""
KERAS_DIVERGED = """epoch,accuracy,loss,val_accuracy,val_loss
0,0.47999998927116394,nan,0.5199999809265137,nan
1,0.5099999904632568,nan,0.5199999809265137,nan
2,0.5099999904632568,nan,0.5199999809265137,nan
"""


def lightning(n_epochs: int, *, per_epoch: int = 50) -> bytes:
    """Lightning's CSVLogger: a row per call of log_metrics, lines that end in CR LF."""
    rows = ["epoch,step,train_loss_epoch,train_loss_step,val_acc,val_loss"]
    for epoch in range(n_epochs):
        step = (epoch + 1) * per_epoch - 1
        level = 1 / (epoch + 1)
        rows += [
            f"{epoch},{step},,{level + 0.01},,",
            f"{epoch},{step},,,{0.9 - level / 2},{1.1 * level}",
            f"{epoch},{step},{level},,,",
        ]
    return ("\r\n".join(rows) + "\r\n").encode()


def trainer_state(path: Path, n_epochs: int, *, is_done: bool = True) -> None:
    """Hugging Face: TrainerState.save_to_json."""
    history: list[dict[str, float]] = []
    for epoch in range(1, n_epochs + 1):
        for half in (0.5, 1.0):
            at = epoch - 1 + half
            history.append(
                {
                    "epoch": at,
                    "grad_norm": 1.25,
                    "learning_rate": 5e-5 / epoch,
                    "loss": round(2 / at, 4),
                    "step": int(at * 200),
                }
            )
        history.append(
            {
                "epoch": float(epoch),
                "eval_accuracy": 0.8,
                "eval_loss": round(2.1 / epoch, 4),
                "eval_runtime": 1.2,
                "step": epoch * 200,
            }
        )
    if is_done:
        history.append(
            {"epoch": float(n_epochs), "step": n_epochs * 200, "train_loss": 99.0,
             "train_runtime": 12.0}
        )  # fmt: skip
    state = {"best_metric": None, "epoch": float(n_epochs), "log_history": history}
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")


def ray_tune(folder: Path, trial_id: str, lr: float, n_iterations: int) -> None:
    """Ray Tune 2.60: result.json and progress.csv of a trial, side by side."""
    folder.mkdir(parents=True)
    records = [
        {
            "train_loss": 2.0 * 0.8**i,
            "val_loss": 2.1 * 0.8**i,
            "timestamp": 1795792208 + i,
            "done": False,
            "training_iteration": i + 1,
            "trial_id": trial_id,
            "date": "2026-11-27_15-10-08",
            "time_this_iter_s": 0.01,
            "pid": 4711,
            "hostname": "vm",
            "config": {"lr": lr, "batch_size": 16},
            "time_since_restore": 0.01 * i,
        }
        for i in range(n_iterations)
    ]
    (folder / "result.json").write_text("".join(json.dumps(r) + "\n" for r in records))
    names = [name for name in records[0] if name != "config"]
    lines = [",".join(names), *(",".join(str(r[name]) for name in names) for r in records)]
    (folder / "progress.csv").write_text("\r\n".join(lines) + "\r\n")
    (folder / "params.json").write_text(json.dumps({"lr": lr}))
