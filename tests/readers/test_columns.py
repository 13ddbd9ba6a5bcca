import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.readers import ColumnMap, find_columns, metric_mode

USUAL = [
    (
        ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"],
        {"epoch": "epoch", "train_loss": "loss", "val_loss": "val_loss",
         "train_metric": "accuracy", "val_metric": "val_accuracy"},
    ),
    (
        ["epoch", "step", "train_loss_epoch", "train_loss_step", "val_loss"],
        {"epoch": "epoch", "step": "step", "train_loss": "train_loss_epoch",
         "val_loss": "val_loss"},
    ),
    (
        ["_step", "_runtime", "Name", "train/loss", "val/loss", "val/acc"],
        {"run": ("Name",), "step": "_step", "train_loss": "train/loss", "val_loss": "val/loss",
         "val_metric": "val/acc"},
    ),
    (
        ["trial_id", "training_iteration", "trainLoss", "Validation Loss", "random_seed"],
        {"run": ("trial_id",), "step": "training_iteration", "train_loss": "trainLoss",
         "val_loss": "Validation Loss", "seed": "random_seed"},
    ),
    (
        ["run_id", "name", "epoch", "train_loss", "loss", "test_loss", "valid_loss"],
        {"run": ("run_id",), "epoch": "epoch", "train_loss": "train_loss",
         "val_loss": "valid_loss"},
    ),
    (
        ["epoch", "train_aux_loss", "loss_scale", "test_loss"],
        {"epoch": "epoch", "val_loss": "test_loss"},
    ),
    (
        ["epoch", "train_r2", "train_loss", "val_loss", "val_mae", "train_mae"],
        {"epoch": "epoch", "train_loss": "train_loss", "val_loss": "val_loss",
         "train_metric": "train_mae", "val_metric": "val_mae"},
    ),
    (
        ["epoch", "train_loss", "val_loss", "wer", "wer_percent"],
        {"epoch": "epoch", "train_loss": "train_loss", "val_loss": "val_loss",
         "val_metric": "wer"},
    ),
    (
        ["epoch", "train/box_loss", "train/cls_loss", "metrics/precision(B)", "metrics/mAP50(B)",
         "metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss", "lr/pg0"],
        {"epoch": "epoch", "train_loss": "train/box_loss + train/cls_loss",
         "val_loss": "val/box_loss + val/cls_loss", "val_metric": "metrics/mAP50-95(B)",
         "sums": {"train_loss": ("train/box_loss", "train/cls_loss"),
                  "val_loss": ("val/box_loss", "val/cls_loss")}},
    ),
    (
        ["epoch", "train/box_loss", "metrics/precision", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95",
         "train/dfl_loss", "val/box_loss"],
        {"epoch": "epoch", "train_loss": "train/box_loss", "val_loss": "val/box_loss",
         "val_metric": "metrics/mAP_0.5:0.95"},
    ),
    (
        ["epoch", "val_loss", "train_epoch_ppl", "train_ppl", "val_epoch_ppl", "val_ppl"],
        {"epoch": "epoch", "val_loss": "val_loss", "train_metric": "train_ppl",
         "val_metric": "val_ppl"},
    ),
    (
        ["step", "train/value_loss", "train/policy_loss", "loss_value"],
        {"step": "step", "train_loss": "loss_value"},
    ),
    (
        ["train_loss_batch", "val_loss", "time/total_timesteps", "time/iterations"],
        {"step": "time/total_timesteps", "train_loss": "train_loss_batch", "val_loss": "val_loss"},
    ),
    (
        ["step", "loss", "eval_loss"],
        {"step": "step", "train_loss": "loss", "val_loss": "eval_loss"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("names", "found"), USUAL)
def test_usual_names_are_known(names, found):
    assert find_columns(names, {}) == ColumnMap(**found)


def test_what_is_given_wins_and_several_columns_may_name_a_run():
    names = ["lr", "seed", "epoch", "loss", "dev_nll_sum"]
    columns = find_columns(names, {"run": "lr+seed", "val_loss": "dev_nll_sum", "seed": ""})
    assert columns.run == ("lr", "seed")
    assert (columns.val_loss, columns.train_loss, columns.seed) == ("dev_nll_sum", "loss", None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"runs": "a"}, "unknown role in --columns 'runs'. Did you mean 'run'"),
        (
            {"val_loss": "val_los"},
            "unknown column for val_loss 'val_los'. Did you mean 'val_loss'",
        ),
        ({"run": "lr+sed"}, "unknown column for run 'lr'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(given, said):
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")):
        find_columns(["epoch", "val_loss"], given)


def test_a_loss_may_be_the_sum_of_columns():
    columns = find_columns(["epoch", "a", "b", "loss"], {"val_loss": "a + b"})
    assert columns.columns_of("val_loss") == ("a", "b")
    assert columns.used() == {"epoch", "a", "b", "loss"}
    with pytest.raises(ConfigError, match="unknown column for val_loss 'c'"):
        find_columns(["epoch", "a", "b"], {"val_loss": "a+c"})


def test_the_direction_of_a_metric_is_read_off_its_name():
    assert metric_mode("val/top1") == metric_mode("eval_accuracy") == "max"
    assert metric_mode("val_error") == metric_mode("ppl") == "min"
    assert metric_mode("metrics/mAP50-95(B)") == metric_mode("mIoU") == "max"
    assert metric_mode("val_thing") is None
