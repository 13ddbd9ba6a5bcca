import textwrap

import pytest

SMALL = {
    "workload": "synthetic",
    "workload_parameters": {"n_train": 96, "n_validation": 48},
    "parameters": {"lr": [0.01, 0.1], "batch_size": [16, 32], "capacity": [4, 16]},
    "seeds": 2,
    "epochs": 4,
    "execution": {"executor": "serial"},
}

MY_WORKLOAD = """
    import torch
    from sweepdiag import Workload

    def build() -> Workload:
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(0, 3, (200,), generator=generator)
        x = torch.randn(200, 5, generator=generator) + y[:, None]
        return Workload(
            name="my-net", version="1", task="classification",
            train=(x[:150], y[:150]), validation=(x[150:], y[150:]),
            model=lambda capacity: torch.nn.Sequential(
                torch.nn.Linear(5, capacity), torch.nn.ReLU(), torch.nn.Linear(capacity, 3)),
            axes={"lr": (1e-3, 1.0), "batch_size": [16, 50], "capacity": [4]},
            settings={"epochs": 3, "seeds": 1})
"""


@pytest.fixture
def small():
    return {**SMALL}


@pytest.fixture
def my_workload(tmp_path):
    path = tmp_path / "my_workload.py"
    path.write_text(textwrap.dedent(MY_WORKLOAD))
    return path
