"""From a file to named tensors."""
