import contextlib
import gc
import itertools
import logging
import weakref

import numpy as np
import pytest
import torch
from torch.nn import functional

from sweepdiag.records import OptimizerSettings, State, TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer, pack_run, programs
from sweepdiag.training.capture import CapturedStep, recorder_for
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.members import common_timetable
from sweepdiag.training.plans import Tier
from sweepdiag.training.programs import FusedProgram, UnfusedProgram
from sweepdiag.training.step_tables import DeviceTable, HostTable
from tests.training.cases import MIXED, OPTIMIZERS, SCHEDULES, train_by
from tests.training.conftest import classes, curves, mlp, pack, prepared, train, trial
from tests.training.tape import TapeRecorder

# --- on the CPU, by a tape ---


@contextlib.contextmanager
def taped(monkeypatch):
    """Record tapes on the CPU as graphs are recorded on a GPU; yield what records the steps."""
    steps, evaluations = steps_and_evaluations = TapeRecorder(), TapeRecorder()
    recorders = itertools.cycle(steps_and_evaluations)  # a program takes one, then the other
    steps.of_evaluations = evaluations
    with monkeypatch.context() as patch:
        patch.setattr(programs, "recorder_for", lambda device: next(recorders))
        yield steps


def program_of(trials, *, workload, settings=None, is_traced=True, device="cpu"):
    """Return a fused program of trials."""
    settings = settings or TrainingSettings(epochs=3)
    trainer = PackTrainer(prepared=workload, settings=settings, device=device)
    members = [trainer._build(t, 1) for t in trials]
    is_exact = device == "cpu"
    return FusedProgram(
        members,
        model=FusedModel(
            members[0].model, prepared=workload, is_traced=is_traced, is_exact=is_exact
        ),
        prepared=workload,
        timetable=common_timetable(trials, workload, settings),
        device=device,
    )


def numbers_of(program, spans):
    """Train over some spans; return losses, evaluations and parameters."""
    found = []
    for first, last in spans:
        found.append(program.advance(first, last).result())
        found += [[[t.loss, t.metric], [v.loss, v.metric]] for t, v in program.evaluate().result()]
    rows = [rows.cpu().double().numpy() for rows in program.parameters.rows.values()]
    return [np.array(numbers) for numbers in found] + rows


SPANS = [(0, 1), (1, 5), (5, 12), (12, 15), (15, 16), (16, 18)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}-{o.momentum}")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_replayed_steps_give_the_bits_of_steps_taken(monkeypatch, optimizer, schedule):
    settings = TrainingSettings(optimizer=optimizer, schedule=schedule, epochs=3)
    trials = [trial(lr, seed=s, capacity=16) for s, lr in enumerate((0.01, 0.1, 1e30))]
    expected = numbers_of(program_of(trials, workload=prepared(), settings=settings), SPANS)
    with taped(monkeypatch) as recorder:
        program = program_of(trials, workload=prepared(), settings=settings)
    found = numbers_of(program, SPANS)
    assert (recorder.n_warmed_up, recorder.n_recorded, recorder.n_replayed) == (3, 1, 15)
    evaluations = recorder.of_evaluations
    assert (evaluations.n_warmed_up, evaluations.n_recorded, evaluations.n_replayed) == (3, 1, 3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("tier", [Tier.TRACED, Tier.VMAP])
def test_members_of_mixed_settings_are_replayed_too(monkeypatch, nesterov, tier):
    settings = TrainingSettings(optimizer=OptimizerSettings(nesterov=nesterov), epochs=4)
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*MIXED), settings=settings)
    with taped(monkeypatch) as recorder:
        replayed = train_by(monkeypatch, tier, pack(*MIXED), settings=settings)
    assert recorder.n_replayed > 0
    for key, curve in alone.items():
        np.testing.assert_array_equal(replayed[key], curve)


def test_buffers_of_batch_norm_are_replayed(monkeypatch):
    def model(capacity):
        network = mlp(capacity)
        return torch.nn.Sequential(network[0], torch.nn.BatchNorm1d(capacity), *network[1:])

    workload = prepared(model)
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*trials), workload)
    with taped(monkeypatch) as recorder:
        replayed = train_by(monkeypatch, Tier.TRACED, pack(*trials), workload)
    assert recorder.n_recorded == 1
    for key, curve in alone.items():
        np.testing.assert_array_equal(replayed[key], curve)


def test_spans_longer_than_the_tables_are_loaded_in_parts(monkeypatch):
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    expected = numbers_of(program_of(trials, workload=prepared()), [(0, 15)])
    monkeypatch.setattr(programs, "_MOST_STEPS", 4)
    with taped(monkeypatch):
        program = program_of(trials, workload=prepared())
    for a, b in zip(numbers_of(program, [(0, 15)]), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_members_get_a_captured_step_of_their_own(monkeypatch):
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    with taped(monkeypatch) as recorder:
        program = program_of(trials, workload=prepared())
        program.advance(0, 5).result()
        first = program._captured
        program.advance(5, 6).result()
        assert program._captured is first
        moved = {dtype: rows.clone() for dtype, rows in program.parameters.rows.items()}
        program.parameters.rows = moved
        program.parameters.views = program.parameters._views()
        program.advance(6, 12).result()
    assert program._captured is not first
    assert recorder.n_recorded == 2


def test_a_loss_that_reads_numbers_is_not_captured_and_says_so_once(monkeypatch, caplog):
    def loss(outputs, targets):
        value = functional.cross_entropy(outputs, targets)
        if not torch._C._functorch.is_functorch_wrapped_tensor(outputs) and not isinstance(
            outputs, torch._subclasses.FakeTensor
        ):
            float(value)
        return value

    workload = prepared(loss=loss)
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    expected = numbers_of(program_of(trials, workload=workload), SPANS)
    with taped(monkeypatch) as recorder, caplog.at_level(logging.WARNING):
        program = program_of(trials, workload=workload)
        found = numbers_of(program, SPANS)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert recorder.n_recorded == 0
    messages = [r.getMessage() for r in caplog.records if "not captured" in r.getMessage()]
    assert [message.partition(" ")[0] for message in messages] == ["steps", "evaluations"]
    assert all("the host waits for the device" in message for message in messages)


def test_a_capture_that_fails_takes_steps_as_usual(caplog):
    class Failing(TapeRecorder):
        def record(self, step):
            del step
            message = "operation not permitted when stream is capturing\nmore"
            raise RuntimeError(message)

    taken = []
    captured = CapturedStep(Failing())
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            captured.take(lambda number=number: taken.append(number))
    assert taken == list(range(6))
    assert not captured.is_captured
    (record,) = caplog.records
    assert record.getMessage() == (
        "steps are not captured as a CUDA graph: "
        "RuntimeError: operation not permitted when stream is capturing"
    )


def test_memory_that_does_not_suffice_to_record_is_an_error():
    class Full(TapeRecorder):
        def record(self, step):
            del step
            raise torch.OutOfMemoryError

    captured = CapturedStep(Full())
    for _ in range(3):
        captured.take(lambda: None)
    with pytest.raises(torch.OutOfMemoryError):
        captured.take(lambda: None)


def test_the_memory_of_a_program_is_free_as_soon_as_nobody_holds_it(monkeypatch):
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    with taped(monkeypatch):
        program = program_of(trials, workload=prepared())
    for step in range(6):
        program.advance(step, step + 1).result()
        program.evaluate().result()
    rows = weakref.ref(next(iter(program.parameters.rows.values())))
    gc.disable()
    try:
        program._captured = program._captured_evaluation = None
        del program
        assert rows() is None
    finally:
        gc.enable()


def test_nothing_is_recorded_on_the_cpu():
    assert recorder_for("cpu") is None


def test_a_table_on_the_device_gives_the_rows_of_one_on_the_host():
    shared = torch.arange(5, dtype=torch.float64)
    columns = {"rates": torch.arange(15.0).view(5, 3, 1), "shared": shared}
    tables = [HostTable("cpu"), DeviceTable("cpu", n_rows=5)]
    for n_steps in (5, 2):
        for table in tables:
            table.load({name: column[:n_steps] for name, column in columns.items()})
        for step in range(n_steps):
            for table in tables:
                row = table.take()
                assert torch.equal(row["rates"], columns["rates"][step])
                assert float(row["shared"]) == float(columns["shared"][step])


def test_a_table_on_the_device_stays_where_it_is_until_the_members_change():
    table = DeviceTable("cpu", n_rows=4)
    table.load({"rates": torch.ones(4, 3)})
    address = table._tables["rates"].data_ptr()
    table.load({"rates": torch.ones(2, 3)})
    assert table._tables["rates"].data_ptr() == address
    table.load({"rates": torch.ones(2, 2)})
    assert table._tables["rates"].shape == (4, 2)


def test_points_that_are_read_one_evaluation_later_are_the_same(monkeypatch):
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    expected = curves(train(pack(*trials)))
    monkeypatch.setattr(pack_run, "evaluations_behind", lambda device: 1)
    events = train(pack(*trials))
    for key, curve in curves(events).items():
        np.testing.assert_array_equal(curve, expected[key])
    assert [type(e) for e in events[-2:]] == [TrialEnded, TrialEnded]


# --- on a GPU ---


def gpu_numbers(trials, cuda, *, is_captured, workload=None, settings=None):
    workload = (workload or prepared()).to(cuda)
    program = program_of(trials, workload=workload, settings=settings, device=cuda)
    if not is_captured:
        program._recorder = program._evaluation_recorder = None
        program._captured = program._captured_evaluation = CapturedStep(None)
    found = numbers_of(program, SPANS)
    assert program._captured.is_captured == is_captured
    assert program._captured_evaluation.is_captured == is_captured
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}-{o.momentum}")
def test_on_a_gpu_a_graph_gives_the_numbers_of_steps_taken(cuda, optimizer):
    settings = TrainingSettings(optimizer=optimizer, schedule=SCHEDULES[2], epochs=3)
    trials = [trial(lr, seed=s, capacity=16) for s, lr in enumerate((0.003, 0.01, 0.03))]
    captured = gpu_numbers(trials, cuda, is_captured=True, settings=settings)
    taken = gpu_numbers(trials, cuda, is_captured=False, settings=settings)
    for a, b in zip(captured, taken, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_on_a_gpu_a_graph_gives_the_numbers_of_single_trainings(cuda):
    trials = [trial(lr, seed=s, capacity=16) for s, lr in enumerate((0.003, 0.01, 0.03))]
    captured = gpu_numbers(trials, cuda, is_captured=True)
    workload = prepared().to(cuda)
    settings = TrainingSettings(epochs=3)
    trainer = PackTrainer(prepared=workload, settings=settings, device=cuda)
    for place, t in enumerate(trials):
        timetable = common_timetable([t], workload, settings)
        alone = UnfusedProgram(
            trainer._build(t, 1), prepared=workload, timetable=timetable, device=cuda
        )
        losses = [alone.advance(*span).result()[0] for span in SPANS]
        found = [captured[i * (1 + len(trials))][place] for i in range(len(SPANS))]
        np.testing.assert_allclose(found, losses, rtol=1e-3)


@pytest.mark.gpu
def test_on_a_gpu_a_diverging_member_leaves_the_others_as_they_are(cuda):
    good = [trial(lr, seed=s, capacity=16) for s, lr in enumerate((0.003, 0.03))]
    bad = trial(1e30, seed=2, capacity=16)
    beside = gpu_numbers([*good, bad], cuda, is_captured=True)[-1]
    without = gpu_numbers([*good, trial(0.01, seed=2, capacity=16)], cuda, is_captured=True)[-1]
    assert not np.isfinite(beside[2]).all()
    np.testing.assert_array_equal(beside[:2], without[:2])


@pytest.mark.gpu
def test_on_a_gpu_a_loss_that_reads_numbers_falls_back(cuda, caplog):
    def loss(outputs, targets):
        value = functional.cross_entropy(outputs, targets)
        if not torch._C._functorch.is_functorch_wrapped_tensor(outputs) and not isinstance(
            outputs, torch._subclasses.FakeTensor
        ):
            float(value)
        return value

    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    with caplog.at_level(logging.WARNING):
        gpu_numbers(trials, cuda, is_captured=False, workload=prepared(loss=loss))
        program = program_of(trials, workload=prepared(loss=loss).to(cuda), device=cuda)
        numbers_of(program, SPANS)
    assert not program._captured.is_captured
    assert any("the host waits" in r.getMessage() for r in caplog.records)


@pytest.mark.gpu
def test_on_a_gpu_a_failing_capture_leaves_the_device_usable(cuda, caplog):
    captured = CapturedStep(recorder_for(cuda))
    total = torch.zeros((), device=cuda)
    n_calls = 0

    def step():
        nonlocal n_calls
        n_calls += 1
        total.add_(1.0)
        if n_calls == 4:
            total.item()  # the recorder saw the steps before, not this one

    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            captured.take(step)
    assert not captured.is_captured
    assert total.item() == 8.0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.cuda.empty_cache()
    # A later capture works.
    other, sums = CapturedStep(recorder_for(cuda)), torch.zeros((), device=cuda)
    for _ in range(8):
        other.take(lambda: sums.add_(1.0))
    assert other.is_captured
    assert sums.item() == 8.0


@pytest.mark.gpu
def test_on_a_gpu_out_of_memory_halves_the_pack(cuda):
    workload = prepared(train=classes(n_samples=400)).to(cuda)
    packed = pack(*(trial(lr, capacity=512) for lr in np.geomspace(1e-3, 1e-1, 64)))
    settings = TrainingSettings(epochs=1)
    trainer = PackTrainer(prepared=workload, settings=settings, device=cuda)
    assert trainer.plan(packed).tier is Tier.TRACED
    gc.collect()
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    # A member has 1.1 MB of parameters: there is room for all models, not for their training.
    # Libraries take some 32 MiB for the pack's stream on top.
    limit = torch.cuda.memory_reserved() + (256 << 20)
    try:
        torch.cuda.set_per_process_memory_fraction(limit / total)
        events = [event for events in trainer.train(packed) for event in events]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    ends = [event for event in events if isinstance(event, TrialEnded)]
    assert [end.state for end in ends] == [State.FINISHED] * 64
    assert max(end.attempt for end in ends) > 1


@pytest.mark.gpu
def test_on_a_gpu_curves_agree_with_those_of_the_cpu_up_to_rounding(cuda):
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    workload = prepared()
    on_cpu = curves(train(pack(*trials), workload=workload))
    on_gpu = curves(train(pack(*trials), workload=workload.to(cuda), device=cuda))
    for key, curve in on_cpu.items():
        np.testing.assert_array_equal(on_gpu[key][:, :2], curve[:, :2])
        np.testing.assert_allclose(on_gpu[key][:, 2:5], curve[:, 2:5], rtol=1e-3)
