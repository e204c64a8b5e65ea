"""Phases on the terminal, and the flag that ends a run."""

import pytest
import torch
from ltx2_pack.nodes.host.progress import Progress, check
from ltx2_pack.nodes.host.standin.host import Host, hosted
from ltx2_pack.nodes.host.standin.progress import Cancelled


def test_phases_are_shown_by_name_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress.of_this_node()
    with progress.phase("stage 1", 4):
        progress.part(2)
        progress.part(4, frames=[torch.zeros(8, 8, 3, dtype=torch.uint8)])
        progress.say("almost")
    with progress.phase("sound"):
        progress.part(3, 10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "stage 1: 100%" in shown.err and "4/4" in shown.err and "almost" in shown.err
    assert "sound" in shown.err and "3/10" in shown.err
    assert set(progress.seconds) == {"stage 1", "sound"}


def test_a_phase_that_comes_twice_counts_once_with_both_times() -> None:
    progress = Progress.of_this_node()
    for _ in range(2):
        with progress.phase("decode"):
            pass
    assert list(progress.seconds) == ["decode"]


def test_progress_outside_of_a_phase_is_nothing() -> None:
    progress = Progress.of_this_node()
    progress.part(1)
    progress.say("nobody listens")
    assert progress.seconds == {}


def test_a_cancelled_host_ends_the_work_at_the_next_check() -> None:
    host = Host()
    with hosted(host):
        progress = Progress.of_this_node()
        check()
        host.cancelled.set()
        for call in (check, progress.check, lambda: progress.part(1)):
            with pytest.raises(Cancelled):
                call()
    check()


def test_cancelling_is_no_exception_that_a_handler_takes_for_a_failure() -> None:
    assert not issubclass(Cancelled, Exception)
