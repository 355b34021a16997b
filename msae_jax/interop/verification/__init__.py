"""Whether JAX and PyTorch compute the same, layer by layer, with a certificate."""
