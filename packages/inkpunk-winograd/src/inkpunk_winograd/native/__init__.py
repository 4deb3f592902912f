"""The kernels in C: their sources, what builds them, and how they are called."""
