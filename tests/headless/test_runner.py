"""Prompts executed in this process."""

import threading
from pathlib import Path
from typing import Any

import pytest
from ltx2_pack.headless.runner import Runner
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.nodes.host.standin.host import Host
from ltx2_pack.nodes.host.standin.progress import Cancelled
from toy_nodes import EXECUTED, NODES


def runner(host: Host | None = None) -> Runner:
    EXECUTED.clear()
    return Runner(NODES, host or Host())


def number(seed: Any, **more: Any) -> dict[str, Any]:
    return {
        "class_type": "ToyNumber",
        "inputs": {"seed": seed, "factor": 1.0, "mode": "plain"} | more,
    }


def show(source: Any) -> dict[str, Any]:
    return {"class_type": "ToyShow", "inputs": {"value": source}}


def picky(size: Any) -> dict[str, Any]:
    return {"class_type": "ToyPicky", "inputs": {"size": size}}


CHAIN = {
    "1": number(3),
    "2": {"class_type": "ToyAdd", "inputs": {"a": ["1", 0], "b": 4, "note": "n"}},
    "3": show(["2", 0]),
    "4": show(["2", 1]),
}


SUM = {"class_type": "ToyAdd", "inputs": {"a": 1, "b": 1, "note": ""}}


def test_nodes_run_after_those_they_need_and_only_once() -> None:
    seen: list[tuple[int, int, str]] = []
    result = runner().run(CHAIN, on_node=lambda *told: seen.append(told))
    assert EXECUTED == ["number 3", "add", "show 7", "show n"]
    assert result.ui == {"3": {"text": ["7"]}, "4": {"text": ["n"]}}
    assert [told[:2] for told in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(result.seconds) == set(CHAIN)


def test_what_no_output_needs_is_not_executed_nor_checked() -> None:
    runner().run({"1": number(3), "2": show(["1", 0]), "3": number(1000)})
    assert EXECUTED == ["number 3", "show 3"]


def test_unchanged_nodes_are_not_executed_again_but_show_again() -> None:
    engine = runner()
    engine.run(CHAIN)
    EXECUTED.clear()
    again = engine.run(CHAIN)
    assert EXECUTED == []
    assert again.ui == {"3": {"text": ["7"]}, "4": {"text": ["n"]}}
    engine.run(CHAIN | {"1": number(5)})
    assert EXECUTED == ["number 5", "add", "show 9", "show n"]


def test_only_the_lazy_inputs_a_node_asks_for_are_computed() -> None:
    switch = {
        "class_type": "ToySwitch",
        "inputs": {"first": False, "one": ["1", 0], "two": ["2", 0]},
    }
    runner().run({"1": number(1), "2": number(2), "3": switch, "4": show(["3", 0])})
    assert EXECUTED == ["number 2", "show 2"]


def test_values_are_brought_to_their_type_as_the_server_does() -> None:
    result = runner().run({"1": number("6", factor=2), "2": show(["1", 0])})
    assert result.ui["2"] == {"text": ["12"]}


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({"1": number(1000), "2": show(["1", 0])}, "ToyNumber.seed: 1000 is more than 100"),
        ({"1": number(-1), "2": show(["1", 0])}, "ToyNumber.seed: -1 is less than 0"),
        ({"1": number("x"), "2": show(["1", 0])}, "ToyNumber.seed: 'x' is no INT"),
        ({"1": number(1, mode="cube"), "2": show(["1", 0])}, "'cube' is none of: plain, square"),
        ({"1": CHAIN["2"] | {"inputs": {}}, "2": show(["1", 0])}, "a: this input is required"),
        ({"1": number(1), "2": show(["1", 1])}, "output 1 of ToyNumber, which has 1"),
        ({"2": show(["9", 0])}, "linked to node 9, which is not there"),
        ({"2": show(5)}, "ToyShow.value: needs a link"),
        ({"1": picky(100)}, "ToyPicky: 100 is too much"),
        (
            {"1": number(1, mode=["2", 1]), "2": SUM, "3": show(["1", 0])},
            "takes COMBO, and STRING is linked to it",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_runs(prompt: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LTX2Error) as caught:
        runner().run(prompt)
    assert sentence in str(caught.value)
    assert EXECUTED == []


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(LTX2Error) as caught:
        runner().run({"1": number(1000, factor=99.0), "2": show(["1", 0]), "3": picky(200)})
    assert len(str(caught.value).splitlines()) == 3


def test_an_input_that_a_node_checks_itself_has_no_other_check() -> None:
    assert runner().run({"1": picky(50)}).ui["1"]["hidden"]


def test_a_node_sees_the_hidden_values_it_asks_for() -> None:
    result = runner().run({"7": picky(8)}, extra_pnginfo={"workflow": 1})
    assert result.ui["7"]["hidden"] == [("7", {"workflow": 1}, None)]


def test_a_failure_without_a_place_gets_the_node_as_its_place() -> None:
    with pytest.raises(LTX2Error) as caught:
        runner().run({"1": picky(13) | {"_meta": {"title": "My node"}}})
    assert str(caught.value) == "13 brings bad luck.\nNeeded: 14\nWhere: My node"


def test_after_a_failure_finished_nodes_are_not_executed_again() -> None:
    engine = runner()
    with pytest.raises(LTX2Error):
        engine.run({"1": number(3), "2": show(["1", 0]), "3": picky(13)})
    EXECUTED.clear()
    engine.run({"1": number(3), "2": show(["1", 0]), "3": picky(14)})
    assert EXECUTED == []


def test_a_workflow_without_outputs_says_so() -> None:
    with pytest.raises(LTX2Error, match="saved or shown"):
        runner().run({"1": number(3)})


def test_links_in_a_circle_are_refused() -> None:
    a = {"class_type": "ToyAdd", "inputs": {"a": ["2", 0], "b": 1, "note": ""}}
    b = {"class_type": "ToyAdd", "inputs": {"a": ["1", 0], "b": 1, "note": ""}}
    with pytest.raises(LTX2Error, match="circle"):
        runner().run({"1": a, "2": b, "3": show(["1", 0])})


def test_a_chain_too_long_to_follow_is_refused() -> None:
    def add(number: int) -> dict[str, Any]:
        return SUM | {"inputs": {"a": [f"{number - 1}", 0], "b": 1, "note": ""}}

    chain = {"0": SUM} | {f"{number}": add(number) for number in range(1, 2000)}
    with pytest.raises(LTX2Error, match="follow one another"):
        runner().run(chain | {"end": show(["1999", 0])})
    short = {key: chain[key] for key in map(str, range(140))}
    assert runner().run(short | {"end": show(["139", 0])}).ui["end"] == {"text": ["141"]}


def test_a_cancelled_host_ends_the_run_at_the_next_node() -> None:
    cancelled = threading.Event()
    engine = runner(Host(cancelled=cancelled))

    def stop(number: int, total: int, name: str) -> None:
        if number == 2:
            cancelled.set()

    with pytest.raises(Cancelled):
        engine.run(CHAIN, on_node=stop)
    assert EXECUTED == ["number 3", "add"]
    cancelled.clear()
    engine.run(CHAIN)
    assert EXECUTED == ["number 3", "add", "show 7", "show n"]


def test_node_classes_hold_no_state() -> None:
    with pytest.raises(AttributeError):
        NODES[0].cache = {}


def test_folders_of_the_host_are_looked_at_for_every_run(tmp_path: Path) -> None:
    from ltx2_pack.headless.core_nodes import NODES as CORE_NODES

    engine = Runner(CORE_NODES, Host(input=tmp_path))
    assert engine.infos()["LoadImage"]["input"]["required"]["image"][1]["options"] == []
    (tmp_path / "a.png").write_bytes(b"")
    assert engine.infos()["LoadImage"]["input"]["required"]["image"][1]["options"] == ["a.png"]
