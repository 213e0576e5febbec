"""`video2lora serve`: the web of one catalogue, until it is interrupted."""

import socket

import uvicorn

from jobs.console import out
from jobs.errors import JobError
from jobs.web.access import Access
from jobs.web.app import create_app
from jobs.web.chart import PICTURES
from jobs.web.site import Site
from jobs.workspace import Workspace
from pipeline.find import LazyEmbedder


class CannotListen(JobError):
    """An address that no server can have here."""


def serve_job(workspace: Workspace, host: str, port: int) -> None:
    """Listen, say where, and answer until Ctrl-C.

    Raises:
        CannotListen: the address or the port cannot be had.
    """
    catalog = workspace.existing_catalog()
    access = Access.of(host, workspace.root)
    site = Site(
        catalog,
        str(workspace.root),
        workspace.root / PICTURES,
        access,
        LazyEmbedder(workspace.profile.embed),
    )
    listener = _listener(host, port)
    address = _address(host, listener.getsockname()[1])
    for line in _opening(address, access):
        out.print(line, markup=False)
    config = uvicorn.Config(create_app(site), log_level="warning", access_log=False, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()


def _opening(address: str, access: Access) -> list[str]:
    if not access.asks:
        return [f"Open {address} (Ctrl-C ends it)"]
    # Behind the # a token stays in the browser: no server's or proxy's log has it.
    lines = [f"Open {address}/enter#{token} as {role}" for role, token in access.tokens.items()]
    return [*lines, "Put TLS in front of it where others share the network. Ctrl-C ends it."]


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
        return listener
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise CannotListen(
            f"Nothing can listen on {host[:100]} port {port}: {said}. "
            "Name another --port (0 takes a free one) or --host."
        ) from error


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{port}"
