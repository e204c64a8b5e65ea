"""The table of which files go together is what the code says."""

from ltx2_pack.ltx_core.checkpoint.catalogue import CATALOGUE
from ltx2_pack.scripts.combinations import MODELS, PAGE, PARTNERS, page, together


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == page(), "run uv run python -m ltx2_pack.scripts.combinations"


def test_every_kind_of_published_file_is_in_it():
    roles = {role for _, role, _ in PARTNERS} | {"checkpoint", "transformer", "duration_head"}
    names = {"loras": "lora", "extras": "text_encoder_extras"}
    assert {file.role for file in CATALOGUE} <= {names.get(role, role) for role in roles}


def test_every_generation_goes_with_its_own():
    own = {"2.0": 0, "2.3": 0, "2.5": 0}
    for name, how, file in PARTNERS:
        if file.version in MODELS and how != "text_encoder":
            assert together(str(file.version), how, file) == "yes", name
            own[str(file.version)] += 1
    assert min(own.values()) >= 4
