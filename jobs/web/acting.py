"""What forms ask for, as acts of the catalogue: signed, and refused where another page was first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import FormData
from starlette.requests import Request

from catalog.acts import Applied
from catalog.curation import Author, Selection
from catalog.curation import categories as about_categories
from catalog.curation import clips as about_clips
from catalog.errors import UnknownCategory
from catalog.store import Catalog
from jobs.errors import JobError
from jobs.web.palette import Palette
from jobs.web.site import Site
from jobs.web.view import ANY, View


class UnknownAct(JobError):
    """A form that asks for no act that there is."""


def author_of(request: Request, form: FormData) -> Author:
    """Who acts, and the last event that his page had seen."""
    return Author(request.state.author or "web", said(form, "as_of") or None)


def said(form: FormData, name: str) -> str:
    """A field of a form, without blanks around it; empty where it is not there."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def texts(form: FormData, name: str) -> list[str]:
    """All values of a field, in order, each once."""
    return list(dict.fromkeys(value for value in form.getlist(name) if isinstance(value, str)))


def selection_of(site: Site, view: View, expected: str) -> Selection:
    """The clips that are selected in a grid, as an act takes them.

    Args:
        expected: how many the page showed; where others match by now, the act is refused.
    """
    count = int(expected) if expected.isascii() and expected.isdigit() and len(expected) < 10 else None
    if view.everything and not (view.compares or view.lasso or view.left_out):
        return Selection.matching(view.filter() or ANY, count)
    if not view.everything:
        return Selection(view.selected, expected=count)
    return Selection(tuple(site.shelf.selected(view)), expected=count, found_by=view.filter() or ANY)


def act_on_clips(catalog: Catalog, verb: str, clips: Selection, form: FormData, author: Author) -> Applied:
    """Carry out one of `CLIP_ACTS`.

    Raises:
        UnknownAct: there is no such act.
        CatalogError: what the act refuses, in a sentence.
    """
    if verb not in CLIP_ACTS:
        raise UnknownAct(f"Clips have no act {verb[:40]!r}; there are {', '.join(CLIP_ACTS)}.")
    return CLIP_ACTS[verb](catalog, clips, form, author)


def act_on_category(catalog: Catalog, verb: str, category: str, form: FormData, author: Author) -> Applied:
    """Carry out one of `CATEGORY_ACTS`.

    Raises:
        UnknownAct, CatalogError: see `act_on_clips`.
    """
    if verb not in CATEGORY_ACTS:
        raise UnknownAct(f"Categories have no act {verb[:40]!r}; there are {', '.join(CATEGORY_ACTS)}.")
    return CATEGORY_ACTS[verb](catalog, category, form, author)


def _move(catalog: Catalog, clips: Selection, form: FormData, author: Author) -> Applied:
    """To a category that is named, or to the likeliest one for letters that were typed, or to a new one."""
    category, typed = said(form, "category"), said(form, "typed")
    if not category and not form.get("new"):
        found = Palette.load(catalog).matching(typed, 1)
        category = found[0].category_id if found else typed
    try:
        return about_clips.move(catalog, clips, category or typed, author, new=bool(form.get("new")))
    except UnknownCategory as error:
        raise UnknownCategory(f"{error} To make it, tick “make it if it is new”.") from error


def _licence(catalog: Catalog, clips: Selection, form: FormData, author: Author) -> Applied:
    evidence = said(form, "evidence") or None
    return about_clips.set_licence(catalog, clips, said(form, "licence") or None, author, evidence)


def _aliases(catalog: Catalog, category: str, form: FormData, author: Author) -> Applied:
    add, remove = ([value] if (value := said(form, name)) else [] for name in ("add", "remove"))
    return about_categories.set_aliases(catalog, category, author, add, remove)


CLIP_ACTS: Mapping[str, Callable[[Catalog, Selection, FormData, Author], Applied]] = {
    "approve": lambda catalog, clips, form, author: about_clips.approve(catalog, clips, author),
    "reject": lambda catalog, clips, form, author: about_clips.reject(
        catalog, clips, author, said(form, "reason") or None
    ),
    "move": _move,
    "licence": _licence,
    "split": lambda catalog, clips, form, author: about_clips.set_split(
        catalog, clips, said(form, "split"), author
    ),
}
CATEGORY_ACTS: Mapping[str, Callable[[Catalog, str, FormData, Author], Applied]] = {
    "rename": lambda catalog, category, form, author: about_categories.rename(
        catalog, category, said(form, "name"), author
    ),
    "alias": _aliases,
    "merge": lambda catalog, category, form, author: about_categories.merge(
        catalog, [category], said(form, "into"), author
    ),
    "group": lambda catalog, category, form, author: about_categories.set_group(
        catalog, [category], said(form, "group") or None, author
    ),
    "hold-out": lambda catalog, category, form, author: about_categories.hold_out(catalog, category, author),
    "take-in": lambda catalog, category, form, author: about_categories.hold_out(
        catalog, category, author, held_out=False
    ),
    "adopt": lambda catalog, category, form, author: about_categories.adopt(
        catalog, category, author, said(form, "name") or None
    ),
    "dismiss": lambda catalog, category, form, author: about_categories.dismiss(catalog, category, author),
}
