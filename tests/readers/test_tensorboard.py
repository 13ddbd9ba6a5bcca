"""Event files of TensorBoard, written by tensorboardX or, as TensorFlow does, record by record."""

import itertools
import struct

import numpy as np
import pytest
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto

from sweepdiag.errors import ReaderError
from sweepdiag.readers import read_curves

N_EPOCHS = 6


def losses(reading, run=None):
    curves = reading.curves
    if run is not None:
        curves = curves[curves["trial_id"] == run]
    return [curves[name].tolist() for name in ("train_loss", "val_loss")]


def write(folder, tags, *, start=0, n_epochs=N_EPOCHS):
    """Write one event file: per tag a value for each epoch."""
    with SummaryWriter(str(folder)) as writer:
        for epoch in range(start, start + n_epochs):
            for tag, level in tags.items():
                writer.add_scalar(tag, level - epoch / 8, epoch)


def write_events(path, events):
    """Write events as TensorBoard frames them; checksums are not looked at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for event in events:
            record = event.SerializeToString()
            stream.write(struct.pack("<QI", len(record), 0) + record + bytes(4))


def event(tag, time, step, value):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=time, step=step, summary=summary)


def tensor_event(tag, step, **tensor):
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    value = Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(**tensor))
    return Event(wall_time=100 + step, step=step, summary=Summary(value=[value]))


def test_tags_are_columns_and_folders_are_runs(tmp_path):
    for run, level in (("lr_1", 2), ("lr_2", 3)):
        write(tmp_path / run, {"Loss/train": level, "Loss/val": level + 1, "lr": 1})
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["lr_1", "lr_2"]
    expected = [[level - epoch / 8 for epoch in range(N_EPOCHS)] for level in (3, 4)]
    assert losses(reading, "lr_2") == expected
    assert reading.columns[0][1].step == "step"
    assert not reading.problems.listed


def test_a_file_can_be_named_itself(tmp_path):
    write(tmp_path / "one", {"train_loss": 2, "val_loss": 3})
    (file,) = (tmp_path / "one").iterdir()
    assert read_curves(file).runs["trial_id"].tolist() == ["one"]


def test_files_of_one_folder_go_on(tmp_path):
    write(tmp_path, {"train_loss": 2, "val_loss": 3})
    (first,) = tmp_path.iterdir()
    first.rename(tmp_path / "events.out.tfevents.1.host")
    write(tmp_path, {"train_loss": 2, "val_loss": 3}, start=N_EPOCHS)
    reading = read_curves(tmp_path)
    assert reading.curves["epoch"].tolist() == list(range(2 * N_EPOCHS))
    assert reading.files == ("events.out.tfevents.*",)


@pytest.mark.parametrize(
    ("train", "val"),
    [("run/loss/train", "run/loss/val"), ("run/loss_train", "run/loss_val")],
    ids=["tensorboardX", "torch"],
)
def test_curves_of_one_plot_are_one_run(tmp_path, train, val):
    """SummaryWriter.add_scalars writes each curve into a folder of its own."""
    write(tmp_path / train, {"loss": 2})
    write(tmp_path / val, {"loss": 3})
    reading = read_curves(tmp_path)
    assert len(reading.runs) == 1
    assert [values[0] for values in losses(reading)] == [2, 3]


def test_keras_folders_of_training_and_validation_are_one_run(tmp_path):
    for part, level in (("train", 2.0), ("validation", 3.0)):
        events = [Event(wall_time=1, file_version="brain.Event:2")]
        for epoch in range(N_EPOCHS):
            content = np.float32(level - epoch / 8).tobytes()
            events += [
                tensor_event("epoch_loss", epoch, dtype=1, tensor_content=content),
                tensor_event("epoch_accuracy", epoch, dtype=1, float_val=[epoch / 8]),
            ]
        write_events(tmp_path / "logs" / part / "events.out.tfevents.1.host.v2", events)
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["logs"]
    assert [values[0] for values in losses(reading)] == [2, 3]
    assert reading.curves["val_metric"].tolist() == [epoch / 8 for epoch in range(N_EPOCHS)]


def test_iterations_are_put_into_epochs_by_the_time(tmp_path):
    """Training losses are often logged per iteration and validation losses per epoch."""
    events, iteration = [], 0
    time = itertools.count(1_000)
    for epoch in range(N_EPOCHS):
        for _ in range(50):
            events.append(event("Loss/train", next(time), iteration, 2 - epoch / 8))
            iteration += 1
        events.append(event("Loss/val", next(time), epoch, 3 - epoch / 8))
    write_events(tmp_path / "events.out.tfevents.1.host", events)
    reading = read_curves(tmp_path)
    train, val = losses(reading)
    assert train == [2 - epoch / 8 for epoch in range(N_EPOCHS)]
    assert val == [3 - epoch / 8 for epoch in range(N_EPOCHS)]
    assert any("'Loss/train' was logged by another count of steps" in n for n in reading.notes)


def test_what_is_cut_off_or_damaged_is_told_and_the_rest_used(tmp_path):
    write(tmp_path / "cut", {"train_loss": 2, "val_loss": 3})
    (file,) = (tmp_path / "cut").iterdir()
    whole = file.read_bytes()
    for content in (whole[:-20], whole[:-30] + b"\xff" * 30, whole + b"\xff" * 5):
        file.write_bytes(content)
        reading = read_curves(tmp_path)
        (problem,) = reading.problems.listed
        assert problem.file == file.name
        assert "cut off or damaged" in str(problem)
        assert len(reading.curves) >= N_EPOCHS - 1


def test_a_file_without_scalars_is_an_error(tmp_path):
    write_events(tmp_path / "events.out.tfevents.1.host", [Event(wall_time=1)])
    with pytest.raises(ReaderError, match="holds no scalars"):
        read_curves(tmp_path)


@pytest.mark.parametrize(
    ("log", "events"),
    [
        ("metrics.csv", "."),
        ("metrics.csv", "tf"),
        ("trainer_state.json", "runs/Nov28"),
        ("checkpoint-9/trainer_state.json", "runs/Nov28"),
    ],
)
def test_other_logs_of_the_same_run_come_first(tmp_path, log, events):
    run = tmp_path / "run"
    write(run / events, {"train_loss": 9, "val_loss": 9})
    (run / log).parent.mkdir(exist_ok=True)
    if log.endswith(".csv"):
        text = "epoch,train_loss,val_loss\n" + "".join(f"{i},2,3\n" for i in range(4))
    else:
        text = '{"log_history": [' + '{"epoch": 1, "loss": 2, "eval_loss": 3},' * 3
        text += '{"epoch": 2, "loss": 2, "eval_loss": 3}]}'
    (run / log).write_text(text)
    reading = read_curves(tmp_path)
    assert set(reading.curves["train_loss"]) == {2}
    assert len(reading.runs) == 1


def test_tables_downloaded_from_it_name_the_run_and_the_loss(tmp_path):
    def table(name, values):
        rows = "".join(f"{100 + i},{i},{value}\n" for i, value in enumerate(values))
        (tmp_path / f"{name}.csv").write_text(f"Wall time,Step,Value\n{rows}")

    table("run-a_train-tag-epoch_loss", [3, 2, 1])
    table("run-a_validation-tag-epoch_loss", [4, 3, 2])
    table("run-b-tag-train_loss", [5, 4, 3])
    table("run-b-tag-val_loss", [6, 5, 4])
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["a", "b"]
    assert losses(reading, "a") == [[3, 2, 1], [4, 3, 2]]
    assert losses(reading, "b") == [[5, 4, 3], [6, 5, 4]]
    alone = read_curves(tmp_path / "run-b-tag-val_loss.csv")
    assert alone.columns[0][1].val_loss == "Value"


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "empty"), (struct.pack("<QI", 2**63, 0) + b"abc", "damaged")]
)
def test_a_file_without_a_record_says_why(tmp_path, content, what):
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(ReaderError, match=f"holds no scalars .*{what}"):
        read_curves(tmp_path)
