"""Frames and sound to and from files."""
