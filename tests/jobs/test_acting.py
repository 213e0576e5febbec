"""`video2lora clip`, `category`, `history` and `undo`: the acts as they are typed."""

import json

import pytest

from jobs.cli import main
from tests.pipeline.made import SPEC, make_catalog

GEOMETRY = ("--set", f"clip.height={SPEC.height}", "--set", f"clip.width={SPEC.width}")


@pytest.fixture
def workdir(tmp_path):
    make_catalog(tmp_path, {"aaaa1": ("melt", "melt"), "bbbb1": ("melt", "melt")}, category_id="melt")
    return tmp_path


def said(capsys, *words, status: int = 0) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, words), *GEOMETRY])
    told = capsys.readouterr()
    assert stopped.value.code == status, told.err
    return told.out if status == 0 else told.err.splitlines()[-1]


def test_a_curators_acts_from_the_command_line(workdir, capsys):
    at = ("-w", workdir, "--author", "ann")
    said(capsys, "category", "add", "Turns to <b>gold</b>", "--alias", "goldify", *at)
    text = said(capsys, "clip", "move", "aaaa", "--to", "Goldify", *at)
    assert "changed 1 clip; take it back with `video2lora undo 2" in text
    text = said(capsys, "clip", "reject", "--where", "category = 'melt'", "--dry-run", *at)
    assert "would change 1 clip, 1 source; nothing was changed" in text
    done = json.loads(said(capsys, "clip", "reject", "--where", "category = 'melt'", "--json", *at))
    assert done == {"event": "3", "changed": {"clips": 1, "sources": 1}, "dry_run": False}
    for words in (
        ("clip", "approve", "bbbb1"),
        ("clip", "licence", "CC0", "aaaa1", "--evidence", "https://example.org"),
        ("clip", "split", "val", "aaaa1"),
        ("category", "rename", "melt", "Liquefy"),
        ("category", "alias", "melt", "--add", "ooze"),
        ("category", "group", "melt", "--under", "liquids"),
        ("category", "hold-out", "melt"),
        ("category", "take-in", "melt"),
        ("category", "merge", "goldify", "--into", "ooze"),
        ("category", "split", "ooze", "aaaa1", "--name", "Drip"),
    ):
        assert "take it back with" in said(capsys, *words, *at)
    listed = json.loads(said(capsys, "category", "list", "--json", "-w", workdir))
    assert {row["name"]: row["size"] for row in listed} == {"Liquefy": 1, "Drip": 1}
    assert "Liquefy" in said(capsys, "category", "list", "-w", workdir)
    rows = json.loads(said(capsys, "history", "--json", "-w", workdir))
    assert [row["event_id"] for row in rows] == [str(n) for n in range(13, 0, -1)]
    assert {row["actor"] for row in rows} == {"ann"}
    assert "Turns to <b>gold</b>" in said(capsys, "history", "-w", workdir)
    assert "category_id: melt → drip" in said(capsys, "history", "--clip", "aaaa", "-w", workdir)
    assert "would change" in said(capsys, "undo", "13", "--dry-run", *at)
    assert "undo 14" in said(capsys, "undo", "13", *at)
    assert "category_id: drip → melt" in said(capsys, "history", "--clip", "aaaa", "-w", workdir)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("clip", "move", "aaaa1", "--to", "mlet"), "No category is called 'mlet'; nearest: 'melt'"),
        (("clip", "move", "zzzz", "--to", "melt"), "No clip is called 'zzzz'"),
        (("clip", "approve"), "Say which clips"),
        (("clip", "reject", "--where", "colour = 'red'"), "no column 'colour'"),
        (("clip", "split", "ood", "aaaa1"), "category hold-out"),
        (("category", "merge", "melt", "--into", "melt"), "circle"),
        (("category", "rename", "melt", "x" * 2**16), "at most 120 characters"),
        (("history", "--clip", "zzzz"), "No clip is called"),
        (("clip", "queue"), "video2lora embed"),
        (("undo", "99"), "There is no event '99'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_2(workdir, capsys, words, says):
    assert says in said(capsys, *words, "-w", workdir, status=2)


def test_what_another_changed_since_is_shown(workdir, capsys):
    said(capsys, "clip", "split", "val", "aaaa1", "-w", workdir, "--author", "ben")
    words = ("clip", "split", "train", "aaaa1", "--as-of", "0", "--author", "ann", "-w", workdir)
    assert "by event 1 (split, ben), and nothing was overwritten" in said(capsys, *words, status=2)
