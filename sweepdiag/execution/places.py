"""Which devices and nodes kill packs that others then train."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.records import JUDGED_STATES, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweepdiag.records import Event

__all__ = ["MAX_REFUTED_DEATHS", "Place", "PlaceHealth"]

MAX_REFUTED_DEATHS = 3
"""So many packs that died at a place and were trained at others put it aside."""

_SHORT_ID = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a worker process runs.

    Attributes:
        node: The node's id in its cluster.
        host: The node's address.
        gpu: The GPU that the worker owns, as the node counts them; empty on the CPU.
    """

    node: str
    host: str
    gpu: str = ""

    @property
    def node_name(self) -> str:
        """The node for people; several may be on one host."""
        return f"node {self.node[:_SHORT_ID]} ({self.host})"

    @property
    def device_name(self) -> str:
        """The device for people; on the CPU the node."""
        return f"GPU {self.gpu} of {self.node_name}" if self.gpu else self.node_name


class PlaceHealth:
    """Puts devices and nodes aside that keep killing packs which train well elsewhere.

    A death counts against a place once every trial that it interrupted has been trained to its end
    at other places: where one of them fails again, or is trained at the same place after all, the
    pack may have been at fault. Places are put aside that have ``limit`` such deaths of different
    packs, and at least as many as packs that were trained there.

    Devices are judged by what others train, nodes by what other nodes do.
    """

    def __init__(self, limit: int = MAX_REFUTED_DEATHS) -> None:
        self._devices = _Ledger(limit)
        self._nodes = _Ledger(limit)

    def died(self, place: Place, trial_ids: Iterable[str]) -> None:
        """Take note that a worker died or fell silent.

        Args:
            place: Where.
            trial_ids: What it had under way and left unfinished.
        """
        interrupted = frozenset(trial_ids)
        self._devices.died(place.device_name, interrupted)
        self._nodes.died(place.node_name, interrupted)

    def trained(self, place: Place) -> None:
        """Take note that a worker has trained what it was given."""
        self._devices.trained(place.device_name)
        self._nodes.trained(place.node_name)

    def record(self, place: Place, events: Iterable[Event]) -> list[str]:
        """Take note of what a worker tells.

        Args:
            place: Where it is.
            events: What it tells.

        Returns:
            Names of the devices and nodes that are put aside from now on; of a node's devices, the
            node alone.
        """
        nodes: list[str] = []
        devices: list[str] = []
        for event in events:
            if isinstance(event, TrialEnded):
                trial_id, is_good = event.trial_id, event.state in JUDGED_STATES
                nodes += self._nodes.ended(trial_id, place.node_name, is_good=is_good)
                devices += self._devices.ended(trial_id, place.device_name, is_good=is_good)
        return nodes + [name for name in devices if not name.endswith(tuple(self._nodes.aside))]

    def given_up(self, events: Iterable[Event]) -> None:
        """Take note of trials that were ended without having been trained anywhere."""
        for event in events:
            self._devices.ended(event.trial_id, "", is_good=False)
            self._nodes.ended(event.trial_id, "", is_good=False)

    def in_doubt(self) -> set[str]:
        """Return the devices that several packs died at, of which one is still under suspicion."""
        return self._devices.in_doubt()

    def is_aside(self, place: Place) -> bool:
        """Return whether a place is to be given no more work."""
        return place.device_name in self._devices.aside or place.node_name in self._nodes.aside


@dataclass(slots=True)
class _Death:
    """A death at a place, and the trials which have not been trained elsewhere since."""

    name: str
    interrupted: frozenset[str]
    unproven: set[str]


class _Ledger:
    """Deaths at places of one kind, by name."""

    def __init__(self, limit: int) -> None:
        self.aside: set[str] = set()
        self._limit = limit
        self._open: list[_Death] = []
        self._n_refuted: Counter[str] = Counter()
        self._n_trained: Counter[str] = Counter()

    def died(self, name: str, trial_ids: frozenset[str]) -> None:
        # The halves of a pack that died here are no other pack.
        is_known = any(
            death.name == name and death.interrupted & trial_ids for death in self._open
        )
        if trial_ids and not is_known:
            self._open.append(_Death(name, trial_ids, set(trial_ids)))

    def in_doubt(self) -> set[str]:
        suspected = Counter(death.name for death in self._open)
        return {name for name, count in suspected.items() if count + self._n_refuted[name] > 1}

    def trained(self, name: str) -> None:
        self._n_trained[name] += 1

    def ended(self, trial_id: str, name: str, *, is_good: bool) -> list[str]:
        """Return the places that the good end of a trial puts aside."""
        concerned = [death for death in self._open if trial_id in death.unproven]
        put_aside = []
        for death in concerned:
            if not is_good or death.name == name:
                self._open.remove(death)
                continue
            death.unproven.remove(trial_id)
            if not death.unproven:
                self._open.remove(death)
                put_aside += self._refute(death.name)
        return put_aside

    def _refute(self, name: str) -> list[str]:
        self._n_refuted[name] += 1
        n_refuted = self._n_refuted[name]
        if name in self.aside or n_refuted < max(self._limit, self._n_trained[name]):
            return []
        self.aside.add(name)
        return [name]
