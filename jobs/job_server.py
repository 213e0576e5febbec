"""The job server of a Ray cluster: found by any of its addresses, reached with this machine's token."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from jobs.ray_session import NoCluster, head_of, in_token_mode, require_listener, without_raw_lines

DEFAULT_SERVER = "http://127.0.0.1:8265"
ANSWERS_WITHIN = 10.0  # seconds


def server_of(address: str | None) -> str:
    """The URL of the server that takes a cluster's jobs.

    Args:
        address: of the dashboard (http://HOST:8265, HOST:8265) or the head (HOST:6379); None: what the
            environment names, else a cluster on this machine.

    Raises:
        NoCluster: nothing answers there, or nothing that takes jobs.
    """
    named = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    return _server(named or DEFAULT_SERVER)


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, to be put into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _server(address: str) -> str:
    """The address of a cluster's job server as a URL."""
    if address.startswith(("http://", "https://")):
        place = urlsplit(address)
        require_listener(place.hostname or "", place.port or (443 if place.scheme == "https" else 80))
        return address.rstrip("/")
    if address in ("auto", "local"):
        return DEFAULT_SERVER
    host, port = head_of(address)
    require_listener(host, port)
    url = f"http://{host}:{port}"
    return url if _speaks_http(url) else _dashboard_of(f"{host}:{port}")


def _speaks_http(url: str) -> bool:
    import requests

    try:
        requests.get(f"{url}/api/version", timeout=ANSWERS_WITHIN)
    except requests.exceptions.RequestException:
        return False
    return True


def _dashboard_of(head: str) -> str:
    """Ask a head for its job server."""
    import ray
    from ray._raylet import GcsClient

    def asked() -> bytes | None:
        with without_raw_lines():
            found: bytes | None = GcsClient(address=head).internal_kv_get(
                b"dashboard", b"dashboard", timeout=ANSWERS_WITHIN
            )
            return found

    try:
        try:
            found = asked()
        except ray.exceptions.AuthenticationError:
            in_token_mode(head)
            found = asked()
    except ray.exceptions.RpcError as error:
        raise NoCluster(
            f"What listens at {head} does not answer as Ray does: {first_line(error)}."
        ) from error
    if not found:
        raise NoCluster(
            f"The cluster at {head} takes no jobs: its dashboard is not running. Start it with "
            "`ray start --head --include-dashboard=true`."
        )
    return f"http://{found.decode()}"


def connected(url: str) -> Any:
    """A client of the job server, with this machine's token where it asks for one."""
    import ray

    # They tell about every package that is sent; a person is told of the job.
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).disabled = True
    logging.getLogger("ray._private.runtime_env").setLevel(logging.WARNING)
    try:
        return _client(url)
    except ray.exceptions.AuthenticationError:
        in_token_mode(url)
    try:
        return _client(url)
    except ray.exceptions.AuthenticationError:
        raise NoCluster(
            f"The cluster at {url} does not take this machine's token; put that of its head "
            "(`ray get-auth-token` there) into RAY_AUTH_TOKEN."
        ) from None


def _client(url: str) -> Any:
    import requests
    from ray.job_submission import JobSubmissionClient

    try:
        with _environ(RAY_API_SERVER_ADDRESS=url):  # what stands there goes before the argument
            return JobSubmissionClient(url)
    except (
        ConnectionError,
        RuntimeError,
        ValueError,
        KeyError,
        requests.exceptions.RequestException,
    ) as error:
        raise NoCluster(
            f"What listens at {url} does not take jobs as Ray does ({first_line(error)}). Name the cluster's "
            f"dashboard, as in --address {DEFAULT_SERVER}."
        ) from error


@contextmanager
def _environ(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
