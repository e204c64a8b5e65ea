"""The same workflow files without a browser, and without ComfyUI if need be."""
