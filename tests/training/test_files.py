"""Files appear whole or not at all, and others may read them."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from training.files import write_atomically, written


def test_a_file_is_readable_by_others_as_the_umask_says_whatever_wrote_it(tmp_path):
    before = os.umask(0o022)
    try:
        with written(tmp_path / "a.safetensors") as partial:
            save_file({"x": torch.zeros(1)}, partial)
        write_atomically(tmp_path / "b.txt", "text")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o644}


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "a.txt", "old")
    with pytest.raises(OSError, match="no space"), written(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise OSError("no space")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    write_atomically(tmp_path / ("n" * 250), "text")
    assert len(list(tmp_path.iterdir())) == 1
