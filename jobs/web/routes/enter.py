"""Coming in with a token, and leaving: only where the server can be reached from other machines."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from jobs.web.pages import own_address, page
from jobs.web.site import Here

router = APIRouter()


@router.get("/enter")
def ask(request: Request, next: str = "/") -> Response:
    """The page that asks for name and token."""
    return page(request, "enter.html.j2", next=own_address(next), wrong=None)


@router.post("/enter")
def enter(
    request: Request,
    site: Here,
    token: Annotated[str, Form()] = "",
    author: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Remember role and name in a signed cookie."""
    role, user = site.access.role_of(token.strip()), site.access.user_of(token.strip())
    name = user or " ".join(author.split())
    wrong = None
    if role is None:
        wrong = "That is not one of the tokens; the server printed them when it started."
    elif not name or len(name) > 80 or not name.isprintable():
        wrong = "Say your name, in at most 80 characters: what you do is signed with it."
    if wrong or role is None:
        return page(
            request, "enter.html.j2", 403 if role is None else 422, next=own_address(next), wrong=wrong
        )
    # Names may be the same; a browser that comes in with a token of many is one by itself.
    before = str(request.session.get("owner", ""))
    owner = user or (before if before.startswith("#") else f"#{secrets.token_hex(8)}")
    request.session.update(role=str(role), author=name, owner=owner)
    return RedirectResponse(own_address(next), 303)


@router.post("/leave")
def leave(request: Request) -> Response:
    """Forget who it was."""
    request.session.clear()
    return RedirectResponse("/enter", 303)
