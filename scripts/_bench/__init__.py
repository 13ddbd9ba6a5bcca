"""What the benchmark scripts share, and the longer of them."""
