"""UI-format workflows become the prompts the browser would send."""

from typing import Any

import pytest
from ltx2_pack.headless.convert import is_api_format, to_api, with_values
from ltx2_pack.ltx_core.errors import LTX2Error
from toy_nodes import INFOS

LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
NUMBER = [7, "randomize", 2.0, "square", True]


def slot(name: str, kind: str, link: int | None, widget: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "type": kind, "link": link}
    return entry | ({"widget": {"name": name}} if widget else {})


def node(key: int, kind: str, values: Any = None, inputs: Any = (), **more: Any) -> dict[str, Any]:
    outputs = [{"name": "out", "type": name} for name in more.pop("outputs", ["INT"])]
    return {
        "id": key, "type": kind, "mode": 0, "inputs": list(inputs), "outputs": outputs,
        "widgets_values": values, **more,
    }  # fmt: skip


def workflow(nodes: list[Any], links: list[Any], **more: Any) -> dict[str, Any]:
    return {"nodes": nodes, "links": links, "version": 0.4, **more}


def show(key: int, link: int) -> dict[str, Any]:
    return node(key, "ToyShow", None, [slot("value", "INT,STRING", link)])


def inputs(prompt: dict[str, Any], key: str) -> dict[str, Any]:
    return prompt[key]["inputs"]


def test_widgets_are_read_by_position_and_the_control_of_a_seed_is_left_out() -> None:
    prompt = to_api(
        workflow([node(1, "ToyNumber", NUMBER), show(2, 5)], [[5, 1, 0, 2, 0, "INT"]]), INFOS
    )
    assert prompt == {
        "1": {
            "class_type": "ToyNumber",
            "inputs": {"seed": 7, "factor": 2.0, "mode": "square", "negative": True},
            "_meta": {"title": "Number"},
        },
        "2": {"class_type": "ToyShow", "inputs": {"value": ["1", 0]}, "_meta": {"title": "Show"}},
    }


def test_a_file_older_than_an_optional_widget_gets_its_default() -> None:
    prompt = to_api(workflow([node(1, "ToyNumber", [7, 2.0, "square"])], []), INFOS)
    assert inputs(prompt, "1")["negative"] is False


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([7, "fixed", 2.0, "plain", True, "surplus"], "widget_count"),
        (["seven", "fixed", 2.0, "plain", True], "widget_value"),
        ([7.5, "fixed", 2.0, "plain", True], "widget_value"),
        ([7, "fixed", "plain", 2.0, True], "widget_value"),
    ],
)
def test_values_that_do_not_fit_the_schema_are_refused(values: list[Any], code: str) -> None:
    with pytest.raises(LTX2Error, match="ToyNumber") as caught:
        to_api(workflow([node(1, "ToyNumber", values)], []), INFOS)
    assert caught.value.code == code


def test_a_widget_made_an_input_keeps_its_place_among_the_values() -> None:
    add = node(2, "ToyAdd", [1, 2, "text"], [slot("b", "INT", 5, widget=True)])
    prompt = to_api(workflow([node(1, "ToyNumber", NUMBER), add], [[5, 1, 0, 2, 0, "INT"]]), INFOS)
    assert inputs(prompt, "2") == {"a": 1, "b": ["1", 0], "note": "text"}


def test_notes_reroutes_and_primitives_vanish() -> None:
    nodes = [
        node(1, "ToyNumber", NUMBER),
        node(2, "Reroute", None, [slot("", "*", 1)]),
        node(3, "Reroute", None, [slot("", "*", 2)]),
        node(4, "PrimitiveNode", [99, "fixed"]),
        node(5, "ToyAdd", [1, 2, ""], [slot("a", "INT", 3, True), slot("b", "INT", 4, True)]),
        node(6, "Note", ["read me"]),
        node(7, "MarkdownNote", ["read me"]),
    ]
    links = [
        [1, 1, 0, 2, 0, "*"],
        [2, 2, 0, 3, 0, "*"],
        [3, 3, 0, 5, 0, "INT"],
        [4, 4, 0, 5, 1, "INT"],
    ]
    prompt = to_api(workflow(nodes, links), INFOS)
    assert set(prompt) == {"1", "5"}
    assert inputs(prompt, "5") == {"a": ["1", 0], "b": 99, "note": ""}


def test_a_muted_node_leaves_its_consumers_their_own_value() -> None:
    muted = node(1, "ToyNumber", NUMBER) | {"mode": 2}
    add = node(2, "ToyAdd", [1, 2, ""], [slot("a", "INT", 5, widget=True)])
    prompt = to_api(workflow([muted, add], [[5, 1, 0, 2, 0, "INT"]]), INFOS)
    assert prompt == {"2": prompt["2"]}
    assert inputs(prompt, "2")["a"] == 1


def test_a_bypassed_node_hands_on_the_input_of_the_same_type() -> None:
    nodes = [
        node(1, "ToyNumber", NUMBER),
        node(
            2, "ToyAdd", [1, 2, ""],
            [slot("note", "STRING", None, True), slot("a", "INT", 1, True)],
            mode=4, outputs=["INT", "STRING"],
        ),
        show(3, 2),
        show(4, 3),
    ]  # fmt: skip
    links = [[1, 1, 0, 2, 1, "INT"], [2, 2, 0, 3, 0, "INT"], [3, 2, 1, 4, 0, "STRING"]]
    prompt = to_api(workflow(nodes, links), INFOS)
    assert inputs(prompt, "3") == {"value": ["1", 0]}
    assert inputs(prompt, "4") == {}


def subgraph(name: str, nodes: list[Any], links: list[Any], ins: list[Any], outs: list[Any]) -> Any:
    return {
        "id": name, "name": name, "nodes": nodes,
        "links": [
            dict(zip(LINK, link, strict=True))
            for link in links
        ],
        "inputs": [{"name": entry, "type": kind} for entry, kind in ins],
        "outputs": [{"name": entry, "type": kind} for entry, kind in outs],
    }  # fmt: skip


def adder() -> Any:
    """A subgraph whose input `left` feeds a, and whose input `note` is promoted."""
    inner = node(
        3, "ToyAdd", [1, 2, "inside"],
        [slot("a", "INT", 1, True), slot("b", "INT", None, True), slot("note", "STRING", 2, True)],
        outputs=["INT", "STRING"],
    )  # fmt: skip
    links = [(1, -10, 0, 3, 0, "INT"), (2, -10, 1, 3, 2, "STRING"), (3, 3, 0, -20, 0, "INT")]
    return subgraph(
        "adder", [inner], links, [("left", "INT"), ("note", "STRING")], [("sum", "INT")]
    )


def test_nodes_inside_a_subgraph_get_its_links_and_promoted_values() -> None:
    instance = node(
        8, "adder", [55, "promoted"],
        [slot("left", "INT", 1, True), slot("note", "STRING", None, True)],
    )  # fmt: skip
    nodes = [node(1, "ToyNumber", NUMBER), instance, show(9, 2)]
    links = [[1, 1, 0, 8, 0, "INT"], [2, 8, 0, 9, 0, "INT"]]
    prompt = to_api(workflow(nodes, links, definitions={"subgraphs": [adder()]}), INFOS)
    assert inputs(prompt, "8:3") == {"a": ["1", 0], "b": 2, "note": "promoted"}
    assert inputs(prompt, "9") == {"value": ["8:3", 0]}


def test_two_nodes_of_one_subgraph_keep_their_own_values() -> None:
    nodes = [
        node(
            8,
            "adder",
            [5, "five"],
            [slot("left", "INT", None, True), slot("note", "STRING", None, True)],
        ),
        node(
            9,
            "adder",
            [6, "six"],
            [slot("left", "INT", None, True), slot("note", "STRING", None, True)],
        ),
    ]
    prompt = to_api(workflow(nodes, [], definitions={"subgraphs": [adder()]}), INFOS)
    assert [inputs(prompt, key)["a"] for key in ("8:3", "9:3")] == [5, 6]
    assert [inputs(prompt, key)["note"] for key in ("8:3", "9:3")] == ["five", "six"]


def test_widgets_shown_on_a_subgraph_by_proxy_override_those_inside() -> None:
    instance = node(
        8, "adder", [44, "proxied"], properties={"proxyWidgets": [["3", "b"], ["3", "note"]]}
    )
    prompt = to_api(workflow([instance], [], definitions={"subgraphs": [adder()]}), INFOS)
    assert inputs(prompt, "8:3") == {"a": 1, "b": 44, "note": "proxied"}


def test_subgraphs_may_lie_in_subgraphs() -> None:
    inner = node(4, "adder", [], [slot("left", "INT", 1, True)])
    outer = subgraph(
        "outer", [inner], [(1, -10, 0, 4, 0, "INT"), (2, 4, 0, -20, 0, "INT")],
        [("left", "INT")], [("sum", "INT")],
    )  # fmt: skip
    nodes = [
        node(1, "ToyNumber", NUMBER),
        node(8, "outer", [], [slot("left", "INT", 1, True)]),
        show(9, 2),
    ]
    links = [[1, 1, 0, 8, 0, "INT"], [2, 8, 0, 9, 0, "INT"]]
    prompt = to_api(workflow(nodes, links, definitions={"subgraphs": [outer, adder()]}), INFOS)
    assert inputs(prompt, "8:4:3")["a"] == ["1", 0]
    assert inputs(prompt, "9") == {"value": ["8:4:3", 0]}


def test_a_bypassed_subgraph_hands_on_its_input() -> None:
    nodes = [
        node(1, "ToyNumber", NUMBER),
        node(8, "adder", [], [slot("left", "INT", 1, True)], mode=4),
        show(9, 2),
    ]
    links = [[1, 1, 0, 8, 0, "INT"], [2, 8, 0, 9, 0, "INT"]]
    prompt = to_api(workflow(nodes, links, definitions={"subgraphs": [adder()]}), INFOS)
    assert set(prompt) == {"1", "9"}
    assert inputs(prompt, "9") == {"value": ["1", 0]}


def test_a_subgraph_that_holds_itself_is_refused() -> None:
    inner = node(4, "loop", [])
    definition = subgraph("loop", [inner], [], [], [])
    with pytest.raises(LTX2Error, match="circle"):
        to_api(workflow([node(1, "loop", [])], [], definitions={"subgraphs": [definition]}), INFOS)


def test_links_in_a_circle_are_refused() -> None:
    nodes = [
        node(1, "Reroute", None, [slot("", "*", 2)]),
        node(2, "Reroute", None, [slot("", "*", 1)]),
        show(3, 3),
    ]
    links = [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"], [3, 2, 0, 3, 0, "*"]]
    with pytest.raises(LTX2Error, match="circle"):
        to_api(workflow(nodes, links), INFOS)


def test_a_dependent_combo_brings_the_widgets_of_its_choice() -> None:
    options = [
        {"key": "auto", "inputs": {"required": {}}},
        {"key": "custom", "inputs": {"required": {"h": ["INT", {"default": 8}]}}},
    ]
    info = {"input": {"required": {
        "size": ["COMFY_DYNAMICCOMBO_V3", {"options": options}], "name": ["STRING", {}],
    }}}  # fmt: skip
    prompt = to_api(workflow([node(1, "Save", ["custom", 64, "x"])], []), {"Save": info})
    assert inputs(prompt, "1") == {"size": "custom", "size.h": 64, "name": "x"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [("image_upload", ["a.png", "image"]), ("audio_upload", ["a.wav", None, ""])],
)
def test_the_widgets_of_an_upload_button_are_left_out(kind: str, values: list[Any]) -> None:
    info = {"input": {"required": {"file": [["a.png"], {kind: True}]}}}
    prompt = to_api(workflow([node(1, "Load", values)], []), {"Load": info})
    assert inputs(prompt, "1") == {"file": values[0]}


@pytest.mark.parametrize(
    "broken",
    [
        {"nodes": [{"id": 1}], "links": []},
        {"nodes": [node(1, "ToyNumber", NUMBER)], "links": [[1, 2]]},
        {"nodes": 5, "links": []},
        {
            "nodes": [node(1, "ToyShow", None, [slot("value", "INT", 1)])],
            "links": [["x", 1, 0, 1, 0]],
        },
    ],
)
def test_what_is_no_workflow_is_refused_in_a_sentence(broken: dict[str, Any]) -> None:
    with pytest.raises(LTX2Error) as caught:
        to_api(broken, INFOS)
    assert caught.value.code == "not_a_workflow"


def test_a_class_nobody_knows_is_named() -> None:
    with pytest.raises(LTX2Error, match="FancyNode"):
        to_api(workflow([node(1, "FancyNode", [])], []), INFOS)
    with pytest.raises(LTX2Error, match="FancyNode"):
        to_api({"1": {"class_type": "FancyNode", "inputs": {}}}, INFOS)


def test_the_api_format_passes_through() -> None:
    prompt = {"1": {"class_type": "ToyNumber", "inputs": {"seed": 1}}}
    assert is_api_format(prompt)
    assert to_api(prompt, INFOS) == prompt


def test_values_of_a_prompt_go_back_to_where_the_file_holds_them() -> None:
    nodes = [
        node(4, "PrimitiveNode", [99, "fixed"]),
        node(5, "ToyAdd", [1, 2, ""], [slot("a", "INT", 4, True)]),
        node(
            8,
            "adder",
            [5, "five"],
            [slot("left", "INT", None, True), slot("note", "STRING", None, True)],
        ),
    ]
    before = workflow(nodes, [[4, 4, 0, 5, 0, "INT"]], definitions={"subgraphs": [adder()]})
    prompt = to_api(before, INFOS)
    prompt["5"]["inputs"] |= {"a": 100, "note": "new"}
    prompt["8:3"]["inputs"] |= {"b": 3, "note": "six"}
    after = with_values(before, prompt, INFOS)
    assert to_api(after, INFOS) == prompt
    assert after["nodes"][0]["widgets_values"] == [100, "fixed"]
    assert after["nodes"][2]["widgets_values"] == [5, "six"]
    assert before["nodes"][1]["widgets_values"] == [1, 2, ""]
