"""What `nodes.host` takes inside ComfyUI: the twin of `standin`."""
