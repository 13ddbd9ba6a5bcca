import math

import numpy as np
import pytest

from sweepdiag.errors import ReaderError
from sweepdiag.readers import read_curves

ROWS = "run,epoch,train_loss,val_loss\na,0,1.0,1.1\na,1,0.5,0.6\na,2,0.25,0.4\n"


def read(tmp_path, content, name="runs.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_curves(path, **options)


def listed(reading):
    return [(p.line, p.column, p.value, p.expected) for p in reading.problems.listed]


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode(),
        ROWS.replace("\n", "\r\n").encode(),
        ROWS.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + ROWS.encode(),
        ROWS.encode("utf-16"),
        ROWS.replace(",", ";").replace(".", ",").encode(),
        ROWS.replace(",", "\t").encode(),
        ROWS.replace(",", "|").encode(),
        ("# logged by hand\n\n" + ROWS.replace("\n", "\n\n")).encode(),
        ROWS.removesuffix("\n").encode(),
        (ROWS + ROWS.replace("a,", "a,").splitlines()[0] + "\n").encode(),
        ROWS.replace("\n", ",\n").encode(),
    ],
    ids=["plain", "crlf", "cr", "bom", "utf-16", "semicolon", "tab", "bar", "comment", "no-end",
         "header-again", "trailing-comma"],
)  # fmt: skip
def test_the_same_curve_in_many_dresses(tmp_path, content):
    reading = read(tmp_path, content)
    assert reading.curves["trial_id"].tolist() == ["a"] * 3
    assert reading.curves["val_loss"].tolist() == [1.1, 0.6, 0.4]
    assert reading.problems.count == 0


def test_what_cannot_be_read_is_listed_by_line_and_the_rest_is_used(tmp_path):
    content = (
        "run,epoch,train_loss,val_loss\n"
        "a,0,1.0,1.1\n"
        "a,1,oops,0.6\n"
        "a,2,0.25\n"
        "a,x,0.2,0.3\n"
        ",3,0.2,0.3\n"
        "a,4,0.2,0.3,0.9,7\n"
        "a,5,0.1,0.2\n"
        "a,6,0.0"
    )
    reading = read(tmp_path, content)
    assert listed(reading) == [
        (4, "", "a,2,0.25", "line left out: 3 values, expected 4 as in the header"),
        (7, "", "a,4,0.2,0.3,0.9,7", "line left out: 6 values, expected 4 as in the header"),
        (9, "", "a,6,0.0", "the file is cut off here: 3 values, expected 4 as in the header"),
        (5, "epoch", "x", "row left out: expected a finite number"),
        (3, "train_loss", "oops", "expected a number"),
        (6, "run", "", "row left out: expected the name of a run"),
    ]
    assert reading.curves["epoch"].tolist() == [0, 1, 5]
    assert np.isnan(reading.curves["train_loss"][1])
    assert str(reading.problems.listed[0]).startswith("runs.csv, line 4: line left out")


def test_numbers_that_are_not_finite_are_known_in_every_spelling(tmp_path):
    spellings = [
        "nan",
        "NaN",
        "-nan(ind)",
        "1.#QNAN",
        "-1.#IND",
        "inf",
        "+Infinity",
        "1.#INF",
        "∞",
    ]
    rows = "".join(f"a,{i},{text},0.5\n" for i, text in enumerate(spellings))
    low = "a,90,-inf,0.5\na,91,-1.#INF,NA\na,92,null,None\n"
    reading = read(tmp_path, "run,epoch,train_loss,val_loss\na,-1,1,1\n" + rows + low)
    assert reading.problems.count == 0
    losses = reading.curves["train_loss"].tolist()[1:]
    assert all(math.isnan(loss) for loss in losses[:5])
    assert losses[5:11] == [math.inf] * 4 + [-math.inf] * 2


def test_an_open_quote_costs_its_own_line_only(tmp_path):
    content = ROWS + '"b,0,1.0,1.1\nb,1,0.5,0.6\n"c ""x""",0,3,4\n'
    reading = read(tmp_path, content)
    assert [problem.line for problem in reading.problems.listed] == [5]
    assert reading.runs["trial_id"].tolist() == ["a", "b", 'c "x"']


def test_a_file_in_another_encoding_is_read_and_said_to_be(tmp_path):
    reading = read(tmp_path, ROWS.replace("a,", "né,").encode("latin-1"))
    assert reading.runs["trial_id"].tolist() == ["né"]
    assert listed(reading)[0][0] == 2
    assert "not UTF-8" in listed(reading)[0][3]


def test_thousands_of_columns_are_passed_over(tmp_path):
    names = ",".join(f"w{i}" for i in range(5000))
    rows = "".join(f"a,{i},{1 / (i + 1)}{',0' * 5000}\n" for i in range(30))
    reading = read(tmp_path, f"run,epoch,val_loss,{names}\n{rows}")
    assert reading.curves["epoch"].tolist() == list(range(30))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("run,epoch,train_loss\n", "no curves in .*: there is no row below the header"),
        ("epoch,loss\n1/10,1\n2/10,2\n", "no curves in .*line 2: epoch is '1/10', row left out"),
        (b"PK\x03\x04\x00\x00\x00\x08abc", "is no text file"),
        ("run,epoch,speed\na,0,1\n", r"no column that is named like a loss.*--columns"),
        ("epoch,run1,run2,run3\n0,1,2,3\n", r"melt .*melt\(id_vars=\['epoch'\], var_name='run'"),
        ("run,0,1,2,3\na,1,2,3,4\n", r"one column per epoch .*id_vars=\['run'\]"),
        ("0,1,2,3\n4,3,2,1\n", r"one column per epoch .*id_vars=\['run'\]"),
        ("0.5,0.5,-1e-3\n0.4,0.6,1e-3\n", r"has no header: its first line holds numbers"),
        ("0,0.5\n1,0.4\n", r"has no header: its first line holds numbers \(0, 0\.5\)"),
        ("epoch,time,train/a_loss\n0,1,2\n", r"If one of train/a_loss .*train_loss=train/a_loss"),
        ("step 0: train loss 4.4, val loss 4.5\niter 0: loss 4.4\n",
         r"no table but text .*begins 'step 0: train loss 4\.4, val loss 4\.5'.*CSV"),
        ("Epoch: [1/9], training accuracy: 67.0%\n", "no table but text"),
        ("Name,State,Created,Runtime,run_name,iter,val/loss\nr1,finished,x,1,a,9,1\n",
         "table of runs from Weights & Biases: one row per run, no curves"),
        ("epoch,val_loss\n0,1\n0,2\n1,3\n1,4\n", r"repeats its epochs.*--columns run=lr\+seed"),
    ],
)  # fmt: skip
def test_a_file_of_no_use_says_why_and_what_to_do(tmp_path, content, said):
    with pytest.raises(ReaderError, match=said):
        read(tmp_path, content)


def test_printed_tensors_are_numbers(tmp_path):
    content = (
        "epoch,train_loss,val_loss\n"
        "1,\"tensor(3.5, device='cuda:0', grad_fn=<DivBackward0>)\",tensor(2.5)\n"
        '2,"tensor([nan], device=\'cuda:0\')","tf.Tensor(1.5, shape=(), dtype=float32)"\n'
    )
    reading = read(tmp_path, content)
    assert reading.problems.count == 0
    assert reading.curves["val_loss"].tolist() == [2.5, 1.5]
    assert reading.curves["train_loss"][0] == 3.5
    assert math.isnan(reading.curves["train_loss"][1])


def test_where_no_loss_can_be_read_the_first_cell_is_told(tmp_path):
    said = r"no row of .* has a loss: runs.csv, line 2: loss is '1 of 3', expected a number"
    with pytest.raises(ReaderError, match=said):
        read(tmp_path, "epoch,loss\n0,1 of 3\n1,2 of 3\n")


def test_a_table_of_which_much_is_left_out_is_refused(tmp_path):
    content = "epoch,loss,val_loss\n" + "1,2,3\n2,2,3\n" * 3 + "1,2,3,4,5\n" * 3
    with pytest.raises(ReaderError, match=r"3 of 9 lines that are no rows .* line 8: .* 5 values"):
        read(tmp_path, content)
