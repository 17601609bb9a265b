"""The exact transform on the CPU: tiles swept by Numba kernels, and a queue."""
