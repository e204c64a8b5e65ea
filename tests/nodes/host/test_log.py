"""Our lines in ComfyUI's log."""

import logging

import pytest
from ltx2_pack.nodes.host.log import name_lines


def test_every_line_of_the_package_begins_with_our_name_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    name_lines("a.pack")
    name_lines("a.pack")
    logging.getLogger("a.pack.inside").info("%d of %d", 3, 4)
    logging.getLogger("a.pack.inside").info("[LTX-2] named already")
    logging.getLogger("a.neighbour").info("not ours")
    assert caplog.messages == ["[LTX-2] 3 of 4", "[LTX-2] named already", "not ours"]
