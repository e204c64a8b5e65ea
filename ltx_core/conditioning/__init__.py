"""What the model is told besides text."""
