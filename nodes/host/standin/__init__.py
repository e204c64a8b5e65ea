"""What `nodes.host` takes when ComfyUI is absent: the same names, the part of them we use."""
