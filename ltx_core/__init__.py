"""LTX-2 in plain PyTorch. Knows nothing of ComfyUI."""
