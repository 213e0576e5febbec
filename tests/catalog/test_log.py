"""The log as a process that stays reads it: the same as read anew, whatever others do meanwhile."""

from catalog.acts import undo
from catalog.curation import Author, Selection
from catalog.curation.categories import rename
from catalog.curation.clips import approve, move, reject
from catalog.events import history, touching
from catalog.log import Log


def test_a_log_that_is_kept_tells_what_one_that_is_read_anew_tells(curated):
    kept, ann = Log(curated), Author("ann")

    def alike() -> None:
        assert kept.history() == history(curated)
        for table, key in (
            ("clips", "m0aaaaa"),
            ("clips", "m1aaaaa"),
            ("clips", "no"),
            ("categories", "melt"),
        ):
            assert kept.touching(table, key) == touching(curated, table, key)

    alike()
    approve(curated, Selection.of(["m0aaaaa", "m1aaaaa"]), ann)
    alike()
    move(curated, Selection.of(["m0aaaaa"]), "drip", ann)
    last = reject(curated, Selection.of(["m1aaaaa", "d0aaaaa"]), Author("bob"), "blurred")
    rename(curated, "melt", "Melting", ann)
    alike()
    undo(curated, last.event, actor="ann")
    alike()
    assert [event.act for event, _ in kept.touching("clips", "m1aaaaa")] == ["undo", "reject", "approve"]
