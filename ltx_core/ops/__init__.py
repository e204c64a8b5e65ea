"""What networks are built from."""
