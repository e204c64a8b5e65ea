"""Opens this folder as a package the way ComfyUI does, whatever the folder is called."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if "ltx2_pack" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "ltx2_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    pack = importlib.util.module_from_spec(spec)
    sys.modules["ltx2_pack"] = pack
    spec.loader.exec_module(pack)
