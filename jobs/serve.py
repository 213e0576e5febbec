"""`video2lora serve`: the web of one catalogue, until it is interrupted."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from jobs import troubles
from jobs.console import out
from jobs.errors import JobError
from jobs.ray_session import ray_session
from jobs.web.access import Access
from jobs.web.app import create_app
from jobs.web.chart import PICTURES
from jobs.web.site import Site
from jobs.workspace import Workspace
from pipeline.find import LazyEmbedder
from pipeline.models import find_model
from pipeline.serving.desk import Desk
from pipeline.serving.dispatch import Dispatcher, Workers
from pipeline.serving.replicas import Work, deployed

# Where lies what requests bring and become, within the working directory.
REQUESTS = "requests"
_PATIENT_SECONDS = 3


class CannotListen(JobError):
    """An address that no server can have here."""


def serve_job(
    workspace: Workspace,
    host: str,
    port: int,
    generate: bool = True,
    model: str | None = None,
    users: Sequence[str] = (),
    address: str | None = None,
) -> None:
    """Listen, say where, and answer until Ctrl-C.

    Args:
        generate: take requests for clips. Workers are started when the first one comes.
        model: of requests that name none.
        users: who gets a token of his own.
        address: of a Ray cluster whose workers are to be used.

    Raises:
        CannotListen: the address or the port cannot be had.
        NoModel: there is no model of that name.
    """
    catalog = workspace.existing_catalog()
    access = Access.of(host, workspace.root, users)
    desk = _desk(workspace, model, address) if generate else None
    site = Site(
        catalog,
        str(workspace.root),
        workspace.root / PICTURES,
        access,
        LazyEmbedder(workspace.profile.embed),
        desk,
    )
    listener = _listener(host, port)
    address = _address(host, listener.getsockname()[1])
    for line in _opening(address, access):
        out.print(line, markup=False)
    config = uvicorn.Config(
        create_app(site),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Who watches a request listens for as long as that takes.
        timeout_graceful_shutdown=_PATIENT_SECONDS,
    )
    try:
        if desk is not None:
            desk.sweep()
            desk.dispatcher.start()
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        if desk is not None:
            desk.dispatcher.stop()


def _desk(workspace: Workspace, model: str | None, address: str | None) -> Desk:
    catalog, models = workspace.catalog, workspace.folder("models").resolve()
    if model is not None:
        find_model(catalog, models, model)
    profile = workspace.profile
    work = Work(
        catalog,
        workspace.folder(REQUESTS).resolve(),
        models,
        profile.serve,
        profile.backbone,
        profile.generate,
        model,
        troubles.sentence,
    )

    @contextmanager
    def workers() -> Iterator[Workers]:
        with ray_session(address), deployed(work) as replicas:
            yield replicas

    return Desk(work, Dispatcher(catalog, workers, profile.serve.patience))


def _opening(address: str, access: Access) -> list[str]:
    if not access.asks:
        return [f"Open {address} (Ctrl-C ends it)"]
    # Behind the # a token stays in the browser: no server's or proxy's log has it.
    tokens = {**access.tokens, **access.users}
    lines = [f"Open {address}/enter#{token} as {who}" for who, token in tokens.items()]
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
