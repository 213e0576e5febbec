"""`video2lora clip`, `category`, `history` and `undo`: the acts as they are typed."""

import json
import re

import pytest

from catalog.store import Catalog
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
    assert done == {"event": "3", "changed": {"clips": 1, "sources": 1}, "left_out": 0, "dry_run": False}
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
    text = said(capsys, "history", "-w", workdir)
    assert "Turns to <b>gold</b>" in text
    assert "1 clip, 1 source" in text
    assert "category_id: melt → drip" in said(capsys, "history", "--clip", "aaaa", "-w", workdir)
    assert "would change" in said(capsys, "undo", "13", "--dry-run", *at)
    assert "undo 14" in said(capsys, "undo", "13", *at)
    assert "category_id: drip → melt" in said(capsys, "history", "--clip", "aaaa", "-w", workdir)


def test_what_data_sets_claim_against_a_person_is_listed_and_decided(workdir, capsys):
    Catalog.open(workdir / "catalog").update(
        "clips",
        [
            {"clip_id": "aaaa1", "claimed_category": "crush", "claimed_licence": None},
            {"clip_id": "bbbb1", "claimed_category": None, "claimed_licence": "proprietary"},
        ],
    )
    told = json.loads(said(capsys, "clip", "conflicts", "--json", "-w", workdir))
    assert [(each["what"], each["stands"], each["claimed"]) for each in told["claims"]] == [
        ("category", "melt", "crush"),
        ("licence", "cc0", "proprietary"),
    ]
    assert "2 claims against a person" in said(capsys, "clip", "conflicts", "-w", workdir)
    said(capsys, "clip", "decide", "aaaa1", "--to", "crush", "-w", workdir)
    said(capsys, "clip", "licence", "cc0", "bbbb1", "-w", workdir)
    assert "0 claims against a person" in said(capsys, "clip", "conflicts", "-w", workdir)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--aspect", "effect"), "Say what to look for"),
        (("red", "--aspect", "effect"), "is that of an example; give one with --like"),
        (("--like", "aaaa1", "--unlike", "aaaa1"), "cannot be both an example"),
        (("--like", "nobody"), "'nobody' is neither a clip_id nor a file"),
        (("--lasso", "0_0"), "'0_0' is no lasso"),
        (("--lasso", "0.0_0.0~1.0_0.0~1.0_1.0"), "no vectors yet"),
        (("--unlike", "aaaa1", "--by", "adapter", "--aspect", "effect"), "An adapter has no parts"),
    ],
)
def test_a_search_that_cannot_be_meant_is_one_sentence(workdir, capsys, words, says):
    assert says in said(capsys, "search", *words, "-w", workdir, status=2)


def test_a_hit_says_why_it_was_found_and_a_filter_has_no_reason(workdir, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert "its category is melt" in said(capsys, "search", "melt", "-w", workdir)
    assert "why" not in said(capsys, "search", "--where", "category = 'melt'", "-w", workdir)


def test_a_move_makes_its_category_where_that_is_said(workdir, capsys):
    at = ("-w", workdir, "--author", "ann")
    assert "glow" in said(capsys, "clip", "move", "aaaa1", "--to", "glow", *at, status=2)
    assert "1 category, 1 clip" in said(capsys, "clip", "move", "aaaa1", "--to", "glow", "--new", *at)


def test_states_are_named_compared_and_put_back_and_copies_settled(workdir, capsys):
    at = ("-w", workdir, "--author", "ann")
    assert "2 clips" in said(capsys, "snapshot", "take", "v1", "--note", "<b>first</b>", *at)
    said(capsys, "category", "add", "glow", *at)
    said(capsys, "clip", "move", "aaaa1", "--to", "glow", *at)
    text = said(capsys, "snapshot", "compare", "v1", "-w", workdir)
    assert "0 came, 0 went, 1 moved" in text
    found = json.loads(said(capsys, "snapshot", "compare", "v1", "now", "--json", "-w", workdir))
    assert found["matrix"] == [{"from": "melt", "to": "glow", "clips": 1}]
    assert "would change" in said(capsys, "snapshot", "restore", "v1", "--dry-run", *at)
    said(capsys, "snapshot", "restore", "v1", *at)
    assert "0 moved" in said(capsys, "snapshot", "compare", "v1", "-w", workdir)
    said(capsys, "duplicates", "keep", "aaaa1", "--over", "bbbb1", "--merge", *at)
    [group] = json.loads(said(capsys, "duplicates", "list", "--json", "-w", workdir))["groups"]
    assert [clip["status"] for clip in group["clips"]] == ["accepted", "duplicate"]
    assert "1 groups" in said(capsys, "duplicates", "list", "-w", workdir)
    said(capsys, "duplicates", "apart", "aaaa1", "bbbb1", *at)
    assert "No two clips show the same" in said(capsys, "duplicates", "list", "-w", workdir)
    assert "<b>first</b>" in said(capsys, "snapshot", "list", "-w", workdir)
    said(capsys, "snapshot", "remove", "v1", "-w", workdir)
    assert json.loads(said(capsys, "snapshot", "list", "--json", "-w", workdir))["snapshots"] == []


def test_a_data_set_leaves_through_the_gate_and_says_what_was_left_out(workdir, capsys):
    at = ("-w", workdir)
    assert "cc0" in said(capsys, "licences", "--without", "cc0", *at)
    counts = json.loads(said(capsys, "search", "--facets", "--where", "licence = 'cc0'", "--json", *at))
    assert counts["category"] == [{"value": "melt", "clips": 2}]
    assert "melt" in said(capsys, "search", "--facets", *at)
    told = json.loads(said(capsys, "licences", "--without", "cc0", "--least", "2", "--json", *at))
    assert told["what_if"]["fallen"] == {"melt": [2, 0]}
    said(capsys, "snapshot", "take", "v1", *at)
    said(capsys, "clip", "licence", "CC-BY-4.0", "aaaa1", *at)
    text = said(capsys, "export", "huggingface", workdir / "out", "--licence", "cc0", *at)
    assert "1 clips of 1 categories" in text
    assert "left out: 1, licence CC-BY-4.0" in text
    assert len((workdir / "out" / "metadata.jsonl").read_text("utf-8").splitlines()) == 1
    words = ("export", "videox-fun", workdir / "v1", "--snapshot", "v1", "--split", "val", "--json", *at)
    assert "No clip passes; left out: 2 split none" in said(capsys, *words, status=2)


def test_a_catalogue_is_maintained_and_comes_back_from_a_backup(workdir, capsys, tmp_path):
    at = ("-w", workdir)
    assert "all that snapshots name stays" in said(capsys, "maintain", "--keep-hours", "0", *at)
    said(capsys, "backup", tmp_path / "copy", *at)
    told = json.loads(said(capsys, "restore", tmp_path / "copy", "-w", tmp_path / "new", "--json"))
    assert told["rows"]["clips"] == 2
    assert '"size": 2' in said(capsys, "category", "list", "--json", "-w", tmp_path / "new")
    with pytest.raises(SystemExit):
        main(["restore", str(tmp_path / "copy"), "-w", str(tmp_path / "other"), "-p", "full"])
    assert "is set up for 49f-8fps-480x720" in capsys.readouterr().err
    assert "there already" in said(capsys, "restore", tmp_path / "copy", *at, status=2)


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
        (("snapshot", "compare", "v1"), "No snapshot is called 'v1'"),
        (("snapshot", "restore", "model:x"), "No model is called 'x'"),
        (("snapshot", "take", "\u202e"), "cannot be seen"),
        (("train", "--snapshot", "v9"), "No snapshot is called 'v9'"),
        (("duplicates", "apart", "aaaa1"), "two clips or more"),
        (("export", "parqet", "out"), "There is no format 'parqet'; nearest: 'parquet'"),
        (("export", "parquet", "out", "--layout", "map"), "the one there is, is atlas"),
        (("export", "parquet", "out", "--where", "colour = 1"), "no column 'colour'"),
        (("export", "parquet", "out", "--snapshot", "v9"), "No snapshot is called 'v9'"),
        (("licences", "--without", "MIT"), "has the licence 'MIT'"),
        (("undo", "99"), "There is no event '99'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_2(workdir, capsys, words, says):
    assert says in said(capsys, *words, "-w", workdir, status=2)


def test_what_another_changed_since_is_shown(workdir, capsys):
    said(capsys, "clip", "split", "val", "aaaa1", "-w", workdir, "--author", "ben")
    words = ("clip", "split", "train", "aaaa1", "--as-of", "0", "--author", "ann", "-w", workdir)
    assert "by event 1 (split, ben), and nothing was overwritten" in said(capsys, *words, status=2)


def test_clustering_says_how_it_is_taken_back(workdir, capsys):
    told = re.search(r"take it back with `video2lora undo (\d+)`", said(capsys, "cluster", "-w", workdir))
    assert told, "the splits are new"
    assert "take it back with" not in said(capsys, "cluster", "-w", workdir)
    assert f"undo {int(told[1]) + 1}" in said(capsys, "undo", told[1], "-w", workdir)
