"""`--set` and `--list`."""

import copy
from typing import Any

import pytest
from ltx2_pack.headless.settings import settings_of, with_settings
from ltx2_pack.ltx_core.errors import LTX2Error
from toy_nodes import INFOS

NUMBER = {"seed": 1, "factor": 2.0, "mode": "plain", "negative": False}
PROMPT: dict[str, Any] = {
    "1": {"class_type": "ToyNumber", "inputs": NUMBER, "_meta": {"title": "First"}},
    "2": {"class_type": "ToyNumber", "inputs": NUMBER | {"seed": 2}, "_meta": {"title": "Second"}},
    "3": {"class_type": "ToyAdd", "inputs": {"a": ["1", 0], "b": 5, "note": "x"}},
}


def test_every_value_is_listed_with_its_range() -> None:
    lines = [str(setting) for setting in settings_of(PROMPT, INFOS)]
    assert lines[0] == "First.seed = 1  (int 0 to 100)"
    assert "Second.mode = 'plain'  (plain | square)" in lines
    assert "ToyAdd.b = 5  (int -1000 to 1000)" in lines
    assert not any(line.startswith("ToyAdd.a") for line in lines)


def test_a_name_sets_every_widget_of_it() -> None:
    before = copy.deepcopy(PROMPT)
    after = with_settings(PROMPT, INFOS, ["factor=3.5", "negative=yes", "mode=square", "b=-7"])
    assert before == PROMPT
    for key in ("1", "2"):
        changed = {"factor": 3.5, "negative": True, "mode": "square"}
        assert after[key]["inputs"] == before[key]["inputs"] | changed
    assert after["3"]["inputs"] == {"a": ["1", 0], "b": -7, "note": "x"}


@pytest.mark.parametrize("name", ["Second.seed", "2.seed"])
def test_a_title_or_an_id_addresses_one_node(name: str) -> None:
    after = with_settings(PROMPT, INFOS, [f"{name}=9"])
    assert (after["1"]["inputs"]["seed"], after["2"]["inputs"]["seed"]) == (1, 9)


def test_nodes_that_differ_in_value_are_named() -> None:
    with pytest.raises(LTX2Error, match="differ") as caught:
        with_settings(PROMPT, INFOS, ["seed=9"])
    assert caught.value.needed == "one of: First.seed, Second.seed"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LTX2Error, match="no value called wdith") as caught:
        with_settings(PROMPT, INFOS, ["wdith=9"])
    assert caught.value.needed == "one of: b, factor, mode, negative, note, seed"


@pytest.mark.parametrize("text", ["b=one", "b=1.5", "factor=much", "negative=perhaps", "b="])
def test_a_value_of_another_type_is_refused_with_what_it_may_be(text: str) -> None:
    with pytest.raises(LTX2Error, match="is no value for") as caught:
        with_settings(PROMPT, INFOS, [text])
    assert caught.value.needed


def test_a_text_may_hold_anything() -> None:
    after = with_settings(PROMPT, INFOS, ['note= a = "b"\n'])
    assert after["3"]["inputs"]["note"] == ' a = "b"\n'


def test_a_combo_of_numbers_stays_one() -> None:
    infos = {"Pick": {"input": {"required": {"n": ["COMBO", {"options": [1, 2]}]}}}}
    prompt = {"1": {"class_type": "Pick", "inputs": {"n": 1}}}
    assert with_settings(prompt, infos, ["n=2"])["1"]["inputs"]["n"] == 2
