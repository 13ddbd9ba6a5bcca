"""Public test doubles: what an author of rules, plots or workloads tests against."""

from sweepdiag.testing.simulated import SimulatedSweep, simulate_sweep, simulated_losses

__all__ = ["SimulatedSweep", "simulate_sweep", "simulated_losses"]
