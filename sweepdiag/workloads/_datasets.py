"""Reading the items of a user's map-style data set as arrays of the types that training uses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import WorkloadError
from sweepdiag.messages import clean_message, describe_error
from sweepdiag.workloads._arrays import (
    ONE_TENSOR,
    as_array,
    as_inputs,
    checked_inputs,
    host_tensor,
    target_array,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["ItemReader", "is_map_style", "n_samples", "note_unused", "open_items", "unlike_items"]

logger = logging.getLogger(__name__)

_TARGET_NAMES = {"label", "labels", "target", "targets", "y"}
"""What targets are called in items that are mappings."""
_PAIR = 2
_SHOWN = 8


def is_map_style(samples: object) -> bool:
    """Return whether samples come as items by number, or as a loader of such, not as arrays."""
    is_plain = isinstance(samples, tuple | list | Mapping | str | bytes)
    if is_plain or hasattr(samples, "__array__"):
        return False
    return any(hasattr(samples, name) for name in ("__getitem__", "__iter__"))


def n_samples(samples: Any) -> int:
    """Return how many samples there are, in arrays, in a data set or in that of a loader."""
    return len(_unwrapped(samples)[0]) if is_map_style(samples) else len(samples[1])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ItemReader:
    """Reads items of a data set by their numbers.

    Attributes:
        name: What it is, for messages (``"train"``).
        dataset: Has ``__len__`` and ``__getitem__``.
        collate: Makes a batch of a list of items; ``None``: items are stacked.
        is_classes: Whether targets are class numbers.
    """

    name: str
    dataset: Any
    collate: Callable[[list[Any]], Any] | None
    is_classes: bool

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets of some items, ``(n, …)`` each, converted and checked."""
        numbers = indices.tolist()
        items = self._items(numbers)
        if self.collate is None:
            pairs = [self._pair(item, n) for item, n in zip(items, numbers, strict=True)]
            inputs, targets = (
                self._stacked([pair[place] for pair in pairs], numbers, kind)
                for place, kind in enumerate(("input", "target"))
            )
        else:
            inputs, targets = self._collated(self.collate, items, numbers)
        checked = checked_inputs(inputs, f"{self.name} inputs", numbers=numbers)
        converted = target_array(
            targets, f"{self.name} targets", is_integer=self.is_classes, numbers=numbers
        )
        return as_inputs(checked), converted

    def _items(self, numbers: list[int]) -> list[Any]:
        read_all = getattr(self.dataset, "__getitems__", None)
        if read_all is not None:
            try:
                items = list(read_all(numbers))
            except MemoryError:
                raise
            except Exception as error:
                raise self._unreadable(numbers, error) from error
            if len(items) != len(numbers):
                message = (
                    f"__getitems__ of {self.name} must return one item per index, got "
                    f"{len(items)} for {len(numbers)}"
                )
                raise WorkloadError(message)
            return items
        return [self._item(number) for number in numbers]

    def _item(self, number: int) -> Any:
        try:
            return self.dataset[number]
        except MemoryError:
            raise
        except Exception as error:
            raise self._unreadable([number], error) from error

    def _unreadable(self, numbers: list[int], error: Exception) -> WorkloadError:
        told = describe_error(error, with_place=True)
        return WorkloadError(f"{_named(numbers)} of {self.name} could not be read: {told}")

    def _pair(self, item: Any, number: int) -> tuple[Any, Any]:
        if not isinstance(item, tuple | list) or len(item) != _PAIR:
            size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
            message = (
                f"items of {self.name} must be pairs (input, target), got "
                f"{type(item).__name__}{size} as item {number}; {_as_pair(item)}{ONE_TENSOR}"
            )
            raise WorkloadError(message)
        return item[0], item[1]

    def _stacked(self, values: list[Any], numbers: list[int], kind: str) -> NDArray[Any]:
        arrays = [self._number_or_array(v, n, kind) for v, n in zip(values, numbers, strict=True)]
        first = arrays[0]
        for array, number in zip(arrays, numbers, strict=True):
            if array.shape != first.shape or array.dtype.kind != first.dtype.kind:
                told = (
                    f"item {numbers[0]} has {first.dtype} of shape {first.shape}, item {number} "
                    f"{array.dtype} of {array.shape}"
                )
                raise WorkloadError(unlike_items(self.name, kind, told))
        return np.stack(arrays)

    def _number_or_array(self, value: Any, number: int, kind: str) -> NDArray[Any]:
        try:
            array = np.asarray(host_tensor(value) if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._wrong_type(value, number, kind) from error
        if array.dtype.kind not in "fiub":
            raise self._wrong_type(value, number, kind)
        return array

    def _wrong_type(self, value: Any, number: int, kind: str) -> WorkloadError:
        several = f": {ONE_TENSOR}" if isinstance(value, Mapping | tuple | list) else ""
        return WorkloadError(
            f"{kind}s of {self.name} must be tensors, arrays or numbers, got "
            f"{type(value).__name__} in item {number}{several}"
        )

    def _collated(
        self, collate: Callable[[list[Any]], Any], items: list[Any], numbers: list[int]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            batch = collate(items)
        except MemoryError:
            raise
        except Exception as error:
            told = describe_error(error, with_place=True)
            message = f"collate_fn of {self.name} failed with {_named(numbers)}: {told}"
            raise WorkloadError(message) from error
        if not isinstance(batch, tuple | list) or len(batch) != _PAIR:
            message = (
                f"collate_fn of {self.name} must return a pair (inputs, targets), got "
                f"{type(batch).__name__}; {ONE_TENSOR}"
            )
            raise WorkloadError(message)
        inputs, targets = (
            as_array(part, f"{self.name} {kind}")
            for part, kind in zip(batch, ("inputs", "targets"), strict=True)
        )
        if len(inputs) != len(numbers) or len(targets) != len(numbers):
            message = (
                f"collate_fn of {self.name} must keep the number of samples, got {len(inputs)} "
                f"inputs and {len(targets)} targets of {len(numbers)} items"
            )
            raise WorkloadError(message)
        return inputs, targets


def unlike_items(name: str, kind: str, told: str) -> str:
    """Return the message for items whose inputs or targets cannot be stacked.

    Args:
        name: Whose items they are.
        kind: ``input`` or ``target``.
        told: Which items have which types and shapes.
    """
    return (
        f"{kind}s of {name} must have one shape and type: {told}. Pad or crop them to one shape, "
        "sequences to one length for all batches, or use a training loop of your own, "
        "train(config, report)"
    )


def _as_pair(item: Any) -> str:
    """Return how two of an item's fields become a pair; empty if it has no two, or no names."""
    if not isinstance(item, Mapping) or len(item) < _PAIR:
        return ""
    keys = list(item)
    targets = [key for key in keys if str(key).lower() in _TARGET_NAMES] or keys[-1:]
    inputs = next(key for key in keys if key != targets[0])
    return clean_message(f"return item[{inputs!r}], item[{targets[0]!r}] of it") + "; "


def _named(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"item {numbers[0]}"
    return f"items {', '.join(map(str, numbers[:_SHOWN]))}{', …' if numbers[_SHOWN:] else ''}"


def open_items(name: str, samples: Any, *, is_classes: bool) -> ItemReader:
    """Return what reads the items of a data set, or of that of a ``DataLoader``.

    Args:
        name: What it is, for messages.
        samples: The data set or the loader.
        is_classes: Whether targets are class numbers.

    Returns:
        The reader; no item has been read.

    Raises:
        WorkloadError: If items cannot be read by number, or there are none.
    """
    from torch.utils.data import IterableDataset

    dataset, collate = _unwrapped(samples)
    is_indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if isinstance(dataset, IterableDataset) or not is_indexed:
        message = (
            f"{name} must be arrays or a map-style Dataset with __len__ and __getitem__, got "
            f"{type(dataset).__name__}: minibatches are drawn by index, in an order that follows "
            "from each trial's seed; read the stream into arrays or a file once, and index that"
        )
        raise WorkloadError(message)
    try:
        n_items = len(dataset)
    except (TypeError, NotImplementedError) as error:
        message = f"{name} must have a length: {describe_error(error)}"
        raise WorkloadError(message) from error
    if n_items == 0:
        message = f"{name} must hold at least one sample, got an empty {type(dataset).__name__}"
        raise WorkloadError(message)
    return ItemReader(name=name, dataset=dataset, collate=collate, is_classes=is_classes)


def note_unused(name: str, samples: Any) -> None:
    """Log what of a ``DataLoader`` is not used."""
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

    if not isinstance(samples, DataLoader):
        return
    own = []
    if not isinstance(samples.sampler, RandomSampler | SequentialSampler):
        own.append(f"sampler {type(samples.sampler).__name__}")
    if type(samples.batch_sampler) not in {BatchSampler, type(None)}:
        own.append(f"batch sampler {type(samples.batch_sampler).__name__}")
    level = logging.WARNING if own else logging.INFO
    what = " and ".join(own) or "batch size and order"
    logger.log(
        level,
        "%s: not used of its DataLoader: %s. Batch size is an axis of the sweep, and the order "
        "follows from each trial's seed",
        name,
        what,
    )


def _unwrapped(samples: Any) -> tuple[Any, Callable[[list[Any]], Any] | None]:
    """Return the data set, and what makes a batch of its items if that is not mere stacking."""
    from torch.utils.data import DataLoader, default_collate, default_convert

    if not isinstance(samples, DataLoader):
        return samples, None
    is_default = samples.collate_fn in {default_collate, default_convert}
    return samples.dataset, None if is_default else samples.collate_fn
