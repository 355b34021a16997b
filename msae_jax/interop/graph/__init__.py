"""Computes the graphs of PyTorch programs with JAX."""
