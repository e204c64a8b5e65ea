"""The cache of facts: read once, read again when a file changes, never larger than its limit."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import FOLDER
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.library import FactsCache
from ltx2_pack.ltx_core.errors import LTX2Error
from safetensors.torch import save_file

PLAIN = FOLDER / "loading" / "files" / "checkpoints" / "ltx-2.3-22b-dev.safetensors"


def lora(path: Path, rank: int = 4) -> Path:
    name = "diffusion_model.proj_out.lora_"
    save_file(
        {f"{name}A.weight": torch.ones(rank, 8), f"{name}B.weight": torch.ones(8, rank)}, path
    )
    return path


def test_a_folder_of_good_and_bad_files_is_listed(tmp_path):
    paths = [lora(tmp_path / f"{number}.safetensors") for number in range(100)]
    (tmp_path / "bad.safetensors").write_bytes(b"")
    found = FactsCache().listing([*paths, tmp_path / "bad.safetensors", tmp_path / "absent"])
    assert [facts.role for facts in [*found.values()][:100]] == ["lora"] * 100
    assert [error.code for error in [*found.values()][100:]] == ["empty", "not_found"]


def test_an_unchanged_file_gives_the_same_value(tmp_path):
    cache, path = FactsCache(), lora(tmp_path / "a.safetensors")
    assert cache.facts(path) is cache.facts(path)


def test_a_changed_file_is_read_again(tmp_path):
    cache, path = FactsCache(), lora(tmp_path / "a.safetensors")
    assert cache.facts(path).rank == 4
    lora(path, rank=8)
    assert cache.facts(path).rank == 8


def test_a_file_replaced_by_one_of_the_same_size_is_read_again(tmp_path):
    cache, path = FactsCache(), lora(tmp_path / "a.safetensors")
    first = cache.facts(path)
    lora(path)
    os.utime(path, ns=(1, 1))
    assert cache.facts(path) is not first


def test_a_bad_file_raises_each_time_and_is_good_once_it_is_mended(tmp_path):
    cache, path = FactsCache(), tmp_path / "a.safetensors"
    for _ in range(2):
        with pytest.raises(LTX2Error, match="not there"):
            cache.facts(path)
    lora(path)
    assert cache.facts(path).role == "lora"


def test_a_folder_is_read_again_when_a_file_in_it_changes(tmp_path):
    cache = FactsCache()
    with pytest.raises(LTX2Error):
        cache.facts(tmp_path)
    lora(tmp_path / "model.safetensors")
    assert cache.facts(tmp_path).role == "lora"


def test_it_forgets_what_was_not_asked_for_longest(tmp_path):
    cache = FactsCache(limit=2)
    paths = [lora(tmp_path / f"{number}.safetensors") for number in range(3)]
    first = cache.facts(paths[0])
    for path in (paths[1], paths[0], paths[2]):
        cache.facts(path)
    assert len(cache) == 2
    assert cache.facts(paths[0]) is first
    cache.clear()
    assert len(cache) == 0


def test_a_file_with_the_header_of_another_is_not_parsed_again(tmp_path):
    copies = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for copy in copies:
        shutil.copy(PLAIN, copy)
    cache = FactsCache()
    found = cache.listing(copies)
    first = found[copies[0]]
    for copy in copies:
        assert found[copy] == replace(identify(PLAIN), path=copy)
        assert found[copy].storage_dtypes is first.storage_dtypes  # the very value
    copies[3].write_bytes(copies[3].read_bytes()[:-1])  # the header of a whole file, but cut short
    assert cache.look(copies[3]).code == "truncated"
