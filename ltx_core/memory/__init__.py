"""How much fits where. Numbers, no tensors."""
