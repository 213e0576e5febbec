"""Fixtures of the training room."""

import pytest
import torch


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder for one small random backbone of the session."""
    return tmp_path_factory.mktemp("backbone") / "tiny"


@pytest.fixture(autouse=True)
def one_thread():
    """Two cores are shared by everything that runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
