"""History: who did what and when, and its undoing."""

from fastapi import APIRouter, Request, Response

from catalog.events import changes_of
from jobs.web.pages import page
from jobs.web.site import Here

router = APIRouter()

SHOWN = 100
ROWS_SHOWN = 200


@router.get("/history")
def log(request: Request, site: Here, actor: str = "", page_number: int = 1) -> Response:
    """Acts, the newest first."""
    events = site.log.history()
    actors = sorted({event.actor for event in events})
    events = [event for event in events if not actor or event.actor == actor]
    number = max(1, min(page_number, -(-len(events) // SHOWN) or 1))
    return page(
        request,
        "history.html.j2",
        events=events[(number - 1) * SHOWN : number * SHOWN],
        total=len(events),
        number=number,
        pages=-(-len(events) // SHOWN) or 1,
        actors=actors,
        actor=actor,
    )


@router.get("/event/{event_id}")
def event(request: Request, site: Here, event_id: str) -> Response:
    """What one act changed, row by row."""
    changes = changes_of(site.catalog, event_id)
    told = next(each for each in site.log.history() if each.event_id == event_id)
    rows = []
    for change in changes:
        before, after = change.before().to_pylist(), change.after().to_pylist()
        for key, was, now in zip(change.keys, before, after, strict=True):
            names = [
                name for name in now if was.get(name) != now[name] and name not in ("embedding", "prototype")
            ]
            rows.append((change.table, "/".join(key), [(n, was.get(n), now[n]) for n in names], change.kind))
    return page(request, "event.html.j2", event=told, rows=rows[:ROWS_SHOWN], total=len(rows))
