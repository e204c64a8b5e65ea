"""Bringing networks to the device they run on, and how much room there is."""

from importlib.util import find_spec

if find_spec("comfy_api"):
    from .comfyui.memory import free_bytes as free_bytes
    from .comfyui.memory import out_of_memory as out_of_memory
    from .comfyui.memory import place as place
    from .comfyui.memory import resting_device as resting_device
    from .comfyui.memory import run_device as run_device
    from .comfyui.memory import run_dtype as run_dtype
else:
    from .standin.memory import free_bytes as free_bytes
    from .standin.memory import out_of_memory as out_of_memory
    from .standin.memory import place as place
    from .standin.memory import resting_device as resting_device
    from .standin.memory import run_device as run_device
    from .standin.memory import run_dtype as run_dtype
