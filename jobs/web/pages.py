"""The one way to a page of the web: a template, values, and text that never becomes markup."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from catalog.events import UNDO
from catalog.store import Catalog
from jobs.web.access import Role
from jobs.web.gate import API, error_of

LONGEST = 200
# The part of an address that names the act which led to it.
DONE = "done"
_NAV = (
    *(
        ("/", "Clips"),
        ("/generate", "Generate"),
        ("/categories", "Categories"),
        ("/review", "Review"),
        ("/duplicates", "Duplicates"),
    ),
    *(
        ("/map", "Map"),
        ("/snapshots", "Snapshots"),
        ("/licences", "Licences"),
        ("/runs", "Models"),
        ("/history", "History"),
    ),
)


def short(text: object, longest: int = LONGEST) -> str:
    """What a stranger wrote, on one line, printable and not too long.

    Marks that turn the direction of a whole line are left out: `<bdi>` gives a name its own direction.
    """
    said = "" if text is None else str(text)
    cut = said[: longest - 1] + "…" if len(said) > longest else said
    if cut.isprintable():  # as nearly everything is
        return cut
    return "".join(_shown(sign) for sign in cut)


def _shown(sign: str) -> str:
    if sign.isspace():
        return " "
    kind = unicodedata.category(sign)
    # A joiner is a part of an emoji; every other sign of format is not to be seen, and may mislead.
    if sign == "\u200d" or not kind.startswith("C"):
        return sign
    return "" if kind == "Cf" else "�"


def when(moment: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def figure(number: float | None, digits: int = 3) -> str:
    """A number, a whole one as a whole one, or a dash where there is none."""
    if number is None:
        return "–"
    return f"{number:,}" if isinstance(number, int) else f"{number:.{digits}f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things: `1 clip`, `2,000 clips`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def link(path: str, **asked: object) -> str:
    """An address with its query; a name with several values stands there several times."""
    return f"{path}?{urlencode(asked, doseq=True, errors='replace')}" if asked else path


_PAGES = Environment(
    loader=PackageLoader("jobs.web", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters |= {"short": short, "when": when, "figure": figure}
_PAGES.globals |= {"count": count, "link": link}


def own_address(address: str) -> str:
    """The address where it is one of this site, else the first page."""
    own = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if own else "/"


def with_done(address: str, event: str) -> str:
    """The address of a page that tells of an act that was just done, and offers to undo it."""
    path, _, query = address.partition("?")
    asked = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != DONE]
    return f"{path}?{urlencode([*asked, (DONE, event)], errors='replace')}"


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page; what is common to all comes from the request."""
    text = _PAGES.get_template(template).render(_common(request) | values)
    # Half of a pair of surrogates, as a file's name may hold one, is no UTF-8.
    return HTMLResponse(text.encode("utf-8", "replace"), status, {"cache-control": "no-store"})


def _common(request: Request) -> dict[str, Any]:
    role = getattr(request.state, "role", None)
    asked = request.query_params.get(DONE, "")
    return {
        "nav": _NAV,
        "here": request.url.path,
        "curator": role is Role.CURATOR,
        "entered": role is not None,
        "author": getattr(request.state, "author", ""),
        "asks": request.app.state.site.access.asks,
        "done": _event(request.app.state.site.catalog, asked) if asked and role else None,
        "done_nothing": asked == "nothing",
        "back": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    }


def _event(catalog: Catalog, event_id: str) -> dict[str, Any] | None:
    """What an act did, for the page that follows it."""
    columns = ["event_id", "act", "actor", "changed", "payload"]
    rows = catalog.get("events", [event_id[:20]], columns).to_pylist()
    if not rows:
        return None
    payload = json.loads(rows[0]["payload"] or "{}")
    changed = json.loads(rows[0]["changed"] or "{}")
    tables = {"clips": ("clip", None), "categories": ("category", "categories")}
    said = [count(changed[name], *tables[name]) for name in tables if name in changed]
    told = {"said": " and ".join(said), "left_out": payload.get("left_out"), "of": None}
    # What takes an undoing back does again what was undone.
    again, row = False, rows[0]
    while row["act"] == UNDO:
        of = json.loads(row["payload"])["event"]
        told |= {"act": "redo" if again else UNDO, "of": told["of"] or of}
        row, again = catalog.get("events", [of], ["act", "payload"]).to_pylist()[0], not again
    return rows[0] | told


def told(request: Request, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says in one sentence why there is no other; JSON where that is what its address speaks."""
    if request.url.path.startswith(API):
        return JSONResponse(error_of(status, sentence), status, dict(headers or {}))
    came_from = _came_from(request)
    answer = page(request, "told.html.j2", status, sentence=sentence, number=status, came_from=came_from)
    answer.headers.update(headers or {})
    return answer


def _came_from(request: Request) -> str:
    """The page of this site whose form was refused, without what it told of the act before; else empty."""
    page_before = urlsplit(request.headers.get("referer", ""))
    if request.method != "POST" or page_before.netloc != request.headers.get("host"):
        return ""
    asked = [pair for pair in parse_qsl(page_before.query, keep_blank_values=True) if pair[0] != DONE]
    path = own_address(page_before.path or "/")
    return f"{path}?{urlencode(asked, errors='replace')}" if asked else path
