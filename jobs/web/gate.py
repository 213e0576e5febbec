"""What every request passes: the host it names, the page it comes from, and who sends it."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.web.access import Access, Role, is_loopback

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Addresses for programs: they speak JSON.
API = ("/api/", "/v1/")
# What may be sent without a token, and what a viewer may send.
OPEN = ("/enter", "/static/")
ASKING = frozenset({"/enter", "/leave", "/example"})
# Whoever may look may ask for clips: it changes nothing that others see.
GENERATING = (*API, "/generate", "/requests")
HEADERS = {
    # Nothing from elsewhere, no script or style within a page: what a stranger wrote cannot run.
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware, inside the sessions'; who passes is `scope["state"]["role"]` and `["author"]`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not pass, and hand on the rest."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.decode("latin-1").lower() for name, _ in message["headers"]}
                message["headers"] += [
                    (name.encode(), value.encode()) for name, value in HEADERS.items() if name not in known
                ]
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope, scope["path"])
        await (refusal or self.app)(scope, receive, sent)

    def _refusal(self, headers: Headers, scope: Scope, path: str) -> Response | None:
        """Why a request may not pass; else None, and its role and author are in the scope."""
        host = headers.get("host", "")
        # A page of another site whose name was made to mean this machine (DNS rebinding) names that site.
        if not self.access.asks and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return PlainTextResponse(f"This server answers as localhost, not as {host[:100]!r}.", 421)
        unsafe = scope["method"] not in SAFE
        if unsafe and _from_elsewhere(headers, host):
            return refused(path, 403, "A page of another site may not act here.")
        role, author, owner = self._who(headers, scope)
        state = scope.setdefault("state", {})
        state["role"], state["author"], state["owner"] = role, author, owner
        if path.startswith(OPEN):
            return None
        if role is None:
            asked = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            if unsafe or "text/html" not in headers.get("accept", ""):
                return refused(path, 401, "Say who you are: enter the token at /enter.")
            return RedirectResponse(f"/enter?next={quote(asked, safe='')}", 303)
        if unsafe and role is not Role.CURATOR and path not in ASKING and not path.startswith(GENERATING):
            return PlainTextResponse("A viewer may look, and not act; enter with a curator's token.", 403)
        return None

    def _who(self, headers: Headers, scope: Scope) -> tuple[Role | None, str, str]:
        """Role, author, and the owner of what he asks for: a user with a token of his own is one wherever he
        comes from; of those who share a token each browser is one, and all programs together."""
        if not self.access.asks:
            return Role.CURATOR, self.access.author, self.access.author
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            role, user = self.access.role_of(token.strip()), self.access.user_of(token.strip())
            return role, user or "token", user or f"#{role}"
        session = HTTPConnection(scope).session
        role = session.get("role")
        if role not in set(Role):
            return None, "", ""
        return Role(role), session.get("author", ""), session.get("owner", "")


def refused(path: str, status: int, sentence: str) -> Response:
    """A sentence for a program: JSON where that is what its address speaks."""
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    if path.startswith(API):
        return JSONResponse(error_of(status, sentence), status, headers)
    return PlainTextResponse(sentence, status, headers)


def error_of(status: int, sentence: str) -> dict[str, dict[str, str | None]]:
    """An error as OpenAI's clients read it."""
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": sentence, "type": kind, "param": None, "code": None}}


def _from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether a page of another origin made a browser send this; what is no browser says neither."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    if (origin := headers.get("origin")) is not None:
        return urlsplit(origin).netloc != host
    return False
