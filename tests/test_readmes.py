"""The READMEs speak of this tree: what they link to and name is there, and every room has one."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("catalog", "infra", "jobs", "pipeline", "tests", "training")
PAGES = sorted(
    page for top in (PROJECT, *(PROJECT / room for room in ROOMS)) for page in top.glob("*.md")
) + sorted(page for room in ROOMS for page in (PROJECT / room).glob("*/**/*.md"))
FILES = [path for room in ROOMS for path in (PROJECT / room).rglob("*") if path.suffix != ".pyc"]


def prose(page: Path) -> str:
    """The text without the blocks of commands and drawings."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page(room):
    assert (PROJECT / room / "README.md").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        place, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / place if place else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_of_code_that_a_page_names_are_in_its_room_or_named_from_the_top(page):
    room = page.parent
    missing = [
        name
        for name in re.findall(r"`([\w./-]+\.(?:py|toml|j2))`", prose(page))
        if "NAME" not in name and not (PROJECT / name).is_file()
        if not any(path.is_relative_to(room) and path.as_posix().endswith(f"/{name}") for path in FILES)
    ]
    assert not missing
