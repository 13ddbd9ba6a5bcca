"""Public test doubles: what an author of rules, plots or workloads tests against."""

from sweepdiag.testing.simulated import SimulatedSweep, simulate_sweep

__all__ = ["SimulatedSweep", "simulate_sweep"]
