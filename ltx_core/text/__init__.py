"""From a prompt to the context the transformer reads."""
