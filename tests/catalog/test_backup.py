"""Maintenance and copies while others work: what snapshots name stays, and a copy is whole."""

import threading
from datetime import timedelta

import pytest

from catalog.acts import apply, undo
from catalog.backup import backup, restore_backup
from catalog.changes import Change
from catalog.curation import Selection
from catalog.curation.clips import move
from catalog.errors import BadBackup, CatalogNotFound
from catalog.events import history
from catalog.maintenance import compact
from catalog.snapshots import resolve, take
from catalog.store import Catalog
from tests.catalog.curated import CLIPS, everything, rows_of


def rename_all(catalog: Catalog, number: int) -> None:
    """One act on two tables: both say the same number afterwards."""
    changes = [
        Change("clips", [{"clip_id": clip, "caption": str(number)} for clip in CLIPS]),
        Change("categories", [{"category_id": "melt", "description": str(number)}]),
    ]
    apply(catalog, "number", changes, actor="ann")


def numbers(catalog: Catalog) -> set:
    said = catalog.get("categories", ["melt"], ["description"])["description"].to_pylist()
    return {*said, *catalog.scan("clips", ["caption"])["caption"].to_pylist()}


@pytest.fixture
def busy(curated):
    """A catalogue whose clips and category are given one number after another, until the test ends."""
    over = threading.Event()
    own = Catalog.open(curated.uri)
    rename_all(own, 0)

    def work() -> None:
        number = 1
        while not over.is_set():
            rename_all(own, number)
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    yield curated
    over.set()
    worker.join()


def test_a_copy_is_whole_between_two_acts_while_others_write(busy, tmp_path):
    done = backup(busy, tmp_path / "copy")
    copy = Catalog.open(tmp_path / "copy")
    assert len(numbers(copy)) == 1
    assert done.rows["clips"] == len(CLIPS)
    assert done.files > 0
    assert not list(tmp_path.glob(".*partial"))


def test_maintenance_keeps_what_snapshots_name_while_others_read_and_write(busy):
    take(busy, "v1", "ann")
    past = resolve(busy, "v1")
    before = everything(past)
    looks, wrong, over = [], [], threading.Event()

    def look() -> None:
        view = resolve(Catalog.open(busy.uri), "v1")
        while not over.is_set():
            looks.append(1)
            if everything(view) != before:
                wrong.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    done = [compact(busy, keep=timedelta(minutes=1)) for _ in range(2)]
    over.set()
    reader.join()
    assert looks and not wrong
    assert done[0].files_after <= done[0].files_before
    assert everything(resolve(busy, "v1")) == before


def test_a_backup_brings_back_clips_media_history_and_snapshots(curated, ann, tmp_path):
    curated.upsert("media", [{"clip_id": "m0aaaaa", "video": b"video" * 50_000}])
    take(curated, "v1", "ann")
    moved = move(curated, Selection.of(["m0aaaaa"]), "snow", ann)
    now = everything(curated)
    backup(curated, tmp_path / "copy")
    move(curated, Selection.of(["m1aaaaa"]), "snow", ann)
    restore_backup(tmp_path / "copy", tmp_path / "work" / "catalog")
    back = Catalog.open(tmp_path / "work" / "catalog")
    assert everything(back) == now
    assert back.videos(["m0aaaaa"]) == {"m0aaaaa": b"video" * 50_000}
    assert [event.act for event in history(back)] == ["move"]
    assert rows_of(resolve(back, "v1"), "category_id")["m0"] == ("melt",)
    undo(back, moved.event, actor="ann")
    assert rows_of(back, "category_id")["m0"] == ("melt",)
    assert rows_of(Catalog.open(tmp_path / "copy"), "category_id")["m0"] == ("snow",)


def test_a_copy_that_cannot_be_made_is_one_sentence(curated, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(BadBackup, match="there already"):
        backup(curated, tmp_path / "full")
    with pytest.raises(BadBackup, match="lies in the catalogue"):
        backup(curated, tmp_path / "catalogue" / "copy")
    with pytest.raises(BadBackup, match="cannot be made"):
        backup(curated, tmp_path / "full" / "mine" / "copy")
    with pytest.raises(CatalogNotFound):
        restore_backup(tmp_path / "full", tmp_path / "new")
