"""Everything we ask of ComfyUI; only this folder imports it, `standin` serves in its absence."""
