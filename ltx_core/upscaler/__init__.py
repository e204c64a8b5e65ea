"""Latents made larger in space or time."""
