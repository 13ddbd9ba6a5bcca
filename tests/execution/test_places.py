from __future__ import annotations

from sweepdiag.execution.places import Place, PlaceHealth
from sweepdiag.records import State, TrialEnded

A0, A1 = (Place(node="a" * 56, host="10.0.0.1", gpu=gpu) for gpu in "01")
B0 = Place(node="b" * 56, host="10.0.0.2", gpu="0")
C0 = Place(node="c" * 56, host="10.0.0.3", gpu="0")


def ended(*names: str, state: State = State.FINISHED) -> list[TrialEnded]:
    return [TrialEnded(trial_id=name, attempt=2, state=state) for name in names]


def dead_and_trained(health: PlaceHealth, died: Place, trained: Place, count: int) -> list[str]:
    """Have packs of two die at one place and be trained at another; return what is put aside."""
    put_aside = []
    for number in range(count):
        health.died(died, [f"{number}-x", f"{number}-y"])
        put_aside += health.record(trained, ended(f"{number}-x", f"{number}-y"))
    return put_aside


def test_a_device_whose_packs_are_trained_by_others_is_put_aside_once() -> None:
    health = PlaceHealth()
    assert dead_and_trained(health, A0, A1, 2) == []
    assert not health.is_aside(A0)
    assert dead_and_trained(health, A0, A1, 5) == ["GPU 0 of node aaaaaaaa (10.0.0.1)"]
    assert health.is_aside(A0)
    assert not health.is_aside(A1), "its node trains well elsewhere"


def test_a_node_is_judged_by_other_nodes() -> None:
    health = PlaceHealth()
    assert dead_and_trained(health, A0, B0, 1) == []
    assert dead_and_trained(health, A1, B0, 1) == []
    assert dead_and_trained(health, A1, C0, 1) == ["node aaaaaaaa (10.0.0.1)"]
    assert health.is_aside(A0)
    assert health.is_aside(A1)
    assert not health.is_aside(B0)


def test_packs_that_fail_everywhere_are_no_fault_of_the_place() -> None:
    health = PlaceHealth()
    for number in range(9):
        health.died(A0, [f"{number}-x", f"{number}-y"])
        assert health.record(B0, ended(f"{number}-y")) == []
        health.given_up(ended(f"{number}-x", state=State.FAILED))
    assert not health.is_aside(A0)


def test_packs_that_are_trained_at_the_same_place_after_all_clear_it() -> None:
    health = PlaceHealth()
    assert dead_and_trained(health, A0, A0, 9) == []
    assert health.in_doubt() == set()


def test_a_pack_that_dies_again_in_halves_counts_once() -> None:
    health = PlaceHealth()
    health.died(A0, ["x", "y"])
    for name in ("x", "y", "x", "y"):
        health.died(A0, [name])
    assert health.in_doubt() == set()
    assert health.record(B0, ended("x", "y")) == []
    assert not health.is_aside(A0)


def test_a_place_that_trains_more_than_it_kills_is_kept() -> None:
    health = PlaceHealth()
    for _ in range(4):
        health.trained(A0)
    assert dead_and_trained(health, A0, A1, 3) == []
    health.died(A0, ["z"])
    assert health.record(A1, ended("z")) == ["GPU 0 of node aaaaaaaa (10.0.0.1)"]


def test_a_device_is_in_doubt_from_its_second_pack_until_it_is_known_who_was_at_fault() -> None:
    health = PlaceHealth()
    name = A0.device_name
    health.died(A0, ["x"])
    assert health.in_doubt() == set()
    health.died(A0, ["y"])
    assert health.in_doubt() == {name}
    health.record(A1, ended("x"))
    assert health.in_doubt() == {name}
    health.given_up(ended("y", state=State.FAILED))
    assert health.in_doubt() == set()
    health.died(A0, ["z"])
    assert health.in_doubt() == {name}


def test_workers_without_a_gpu_sit_on_their_node() -> None:
    place = Place(node="d" * 56, host="127.0.0.1")
    assert place.device_name == place.node_name == "node dddddddd (127.0.0.1)"
    health = PlaceHealth()
    assert dead_and_trained(health, place, B0, 3) == ["node dddddddd (127.0.0.1)"]
