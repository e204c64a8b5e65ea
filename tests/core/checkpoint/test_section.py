"""Reading one section of a config."""

import logging
from enum import Enum

import pytest
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.errors import LTX2Error


class Kind(Enum):
    """Two choices."""

    ONE = "one"
    TWO = "two"


def section(**values: object) -> Section:
    return Section("vae", values)


def test_a_stated_value_is_taken_and_an_absent_one_is_the_default():
    assert section(n=3).take("n", 1) == 3
    assert section().take("n", 1) == 1
    assert section(x=2).take("x", 1.0) == 2.0
    assert type(section(x=2).take("x", 1.0)) is float


@pytest.mark.parametrize(
    ("value", "default"),
    [("3", 1), (True, 1), (1, True), (1.5, 1), (None, 1), (True, 1.0), ([], "x"), (1, "x")],
)
def test_a_value_of_another_type_is_refused_by_name(value, default):
    with pytest.raises(LTX2Error, match=r"vae\.n") as caught:
        section(n=value).take("n", default)
    assert caught.value.code == "config_unsupported"


def test_lists_of_one_type():
    assert section(n=[1, 2]).take_list("n", (3,)) == (1, 2)
    assert section().take_list("n", (3,)) == (3,)
    assert section(n=[1, 2.5]).take_list("n", (3.0,)) == (1.0, 2.5)
    assert section(n=["a"]).take_list("n", ()) == ("a",)


@pytest.mark.parametrize("value", [[1, "2"], "12", 3, None, [True]])
def test_a_list_of_another_type_is_refused(value):
    with pytest.raises(LTX2Error, match=r"vae\.n"):
        section(n=value).take_list("n", (3,))


def test_a_choice_by_its_name():
    assert section(kind="two").choose("kind", Kind.ONE) is Kind.TWO
    assert section().choose("kind", Kind.ONE) is Kind.ONE
    with pytest.raises(LTX2Error, match=r"one.*two"):
        section(kind="three").choose("kind", Kind.ONE)


def test_an_expected_value_may_be_stated_or_absent_but_not_another():
    section(flag=False).expect("flag", False)
    section().expect("flag", False)
    with pytest.raises(LTX2Error, match=r"vae\.flag = True") as caught:
        section(flag=True).expect("flag", False)
    assert caught.value.code == "config_unsupported"


def test_a_null_counts_as_absent_where_one_asks():
    assert not section(n=None).has("n")
    assert not section().has("n")
    assert section(n=0).has("n")


def test_only_keys_nobody_asked_for_are_reported(caplog):
    found = section(a=1, b=2, c=3, d=4, e=5, f=[6], g="one")
    found.take("a", 0)
    found.expect("b", 2)
    found.skip("c", "absent")
    found.has("d")
    found.take_list("f", (1,))
    found.choose("g", Kind.TWO)
    with caplog.at_level(logging.WARNING):
        found.finish()
    assert "'e'" in caplog.text
    assert not any(f"'{key}'" in caplog.text for key in "abcdfg")


def test_nothing_left_is_nothing_logged(caplog):
    found = section(a=1)
    assert found.raw("a") == 1
    with caplog.at_level(logging.WARNING):
        found.finish()
    assert not caplog.text
