"""A look at a cluster's machines before work begins: what one lacks is a sentence that names it."""

import importlib
import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from catalog.store import Catalog
from pipeline.workers import nodes
from pipeline.workers.nodes import NodeNeeds, NodeUnfit, require_nodes
from tests.pipeline.made import SPEC
from training.backbones.registry import locate_backbone
from training.backbones.settings import BackboneSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")
NAME = socket.gethostname()


def lacks(needs: NodeNeeds, says: str, **options) -> None:
    with pytest.raises(NodeUnfit, match=says) as caught:
        require_nodes(needs, **options)
    assert NAME in str(caught.value) and "\n" not in str(caught.value)


def test_a_machine_that_has_everything_is_named_and_nothing_is_left_there(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    (tmp_path / "work").mkdir()
    assert require_nodes(NodeNeeds((tmp_path / "work",), (tmp_path,), catalog)) == [NAME]
    assert os.listdir(tmp_path / "work") == []  # noqa: PTH208


def test_a_folder_that_a_machine_does_not_see_is_named(tmp_path):
    lacks(NodeNeeds(reads=(tmp_path / "videos",)), f"does not see {tmp_path / 'videos'}")


def test_a_catalogue_that_a_machine_cannot_reach_is_named(s3_options):
    catalog = Catalog("s3://no-such-bucket/effects", SPEC, s3_options)
    lacks(NodeNeeds(catalog=catalog), "cannot read the catalogue at s3://no-such-bucket/effects")


def test_weights_that_a_machine_has_not_got_are_told_with_what_to_fetch():
    nowhere = BackboneSettings(model="nobody/nothing")
    lacks(NodeNeeds(check=partial(locate_backbone, nowhere)), "nobody/nothing")


@pytest.mark.parametrize(
    ("other", "says"),
    [({"torch": "1.0"}, r"has torch \S+ \(here 1\.0\)"), ({"code": "f" * 64}, "other code of this project")],
)
def test_a_machine_of_other_versions_is_told_with_both(monkeypatch, other, says):
    own = nodes._facts() | other
    monkeypatch.setattr(nodes, "_facts", lambda: own)
    lacks(NodeNeeds(), says)


def test_a_machine_without_the_code_is_told_to_take_it_along(tmp_path: Path, monkeypatch):
    (tmp_path / "only_on_this_machine.py").write_text("def check():\n    pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    here = importlib.import_module("only_on_this_machine")
    lacks(
        NodeNeeds(check=here.check),
        r"lacks the code .*\(only_on_this_machine\); send the command with --submit",
    )


def test_a_machine_that_does_not_answer_is_not_waited_for_for_ever():
    lacks(NodeNeeds(), "has not answered for 0 s", patience=0.0)
