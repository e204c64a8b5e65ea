"""Sound to latents and back."""
