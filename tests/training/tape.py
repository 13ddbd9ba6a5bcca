"""A stand-in for CUDA graphs on the CPU: kernels and addresses, replayed without Python."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

N_WARM_UPS = 3
WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "lift_fresh")


class Tape(TorchDispatchMode):
    """Records each operation with the very tensors that it read and wrote."""

    def __init__(self):
        super().__init__()
        self.entries = []
        self.waits = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        del types
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        name = operation.name().partition("::")[2].partition(".")[0]
        if name in WAITS:
            self.waits.append(f"the host waits for the device at {name}")
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.entries.append((operation, args, kwargs, results, [r.data_ptr() for r in results]))
        return result

    @torch.no_grad()
    def replay(self):
        """Do the same to the same memory again; what Python would do anew stays as it was."""
        for operation, args, kwargs, results, addresses in self.entries:
            assert [result.data_ptr() for result in results] == addresses
            again = tree_leaves(operation(*args, **kwargs))
            tensors = [leaf for leaf in again if isinstance(leaf, torch.Tensor)]
            for new, old in zip(tensors, results, strict=True):
                if new.data_ptr() != old.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Records tapes where :class:`sweepdiag.training.capture.CudaRecorder` records graphs."""

    def __init__(self):
        self.n_recorded = 0
        self.n_replayed = 0
        self.n_warmed_up = 0

    def warm_up(self, step):
        self.n_warmed_up += 1
        if self.n_warmed_up % N_WARM_UPS:  # the model may be traced, which a mode would disturb
            step()
            return ""
        with Tape() as tape:
            step()
        return tape.waits[0] if tape.waits else ""

    def record(self, step):
        with Tape() as tape:
            step()
        self.n_recorded += 1
        is_taken = True  # recording a tape takes the step, and recording a graph does not

        def replay():
            nonlocal is_taken
            if not is_taken:
                tape.replay()
            is_taken = False
            self.n_replayed += 1

        return replay
