"""sweepdiag: train a sweep, read every learning curve, say what is wrong and where to train."""

__version__ = "0.1.0"
