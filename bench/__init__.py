"""How fast the fused kernel is beside NumPy, torch.optim and optax on the same work: `python -m bench`."""
