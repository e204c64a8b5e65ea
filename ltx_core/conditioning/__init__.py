"""What the model is told besides text: guides, references, masks, frozen streams."""
