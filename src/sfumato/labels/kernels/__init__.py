"""Numba and Triton accelerators of label formulas; the torch formulas beside the labels define them."""
