"""A local Ray for one command, or a connection to a cluster."""

import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import reaper
from jobs.console import opening
from jobs.errors import JobError
from jobs.interrupts import handlers_kept, leave_once
from jobs.log import own_lines, ray_logging

# Ray reads these when it is imported, and its workers inherit them.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
# Its own warnings go through a person's bars; what concerns a run is an error or in Ray's logs.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
# One thread per worker: Ray runs as many workers as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A worker's threads that wait for each other by spinning stop everything else on a machine of few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

OBJECT_STORE_BYTES = 1024**3
DEFAULT_PORT = 6379
_ANSWERS_WITHIN = 5.0  # seconds
# A socket's path may have 107 bytes; Ray adds its session and the socket's name to its folder.
_LONGEST_FOLDER = 107 - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
_MARK = "VIDEO2LORA_RAY"


class NoCluster(JobError):
    """A Ray cluster that cannot be joined, or a local one that cannot be started."""


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Start a local Ray (or join the cluster at `address` or RAY_ADDRESS), quiet; shut down what was started.

    A Ray that the caller already runs in this process is used and left running. One that somebody else
    started on this machine (`ray start`) is joined only when it is named. Of a local Ray nothing stays when
    this process is killed.

    Raises:
        NoCluster: see the class.
    """
    import ray
    from ray.data import DataContext

    # DeepSpeed calls `ninja` by name, and people run .venv/bin/video2lora without activating the environment.
    bin_folder = str(Path(sys.executable).parent)
    if bin_folder not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = bin_folder + os.pathsep + os.environ["PATH"]
    # Ray announces its token authentication at every start; leaving that on is what we want.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    mine = not ray.is_initialized()
    watcher = None
    if mine and joins(address):
        _join(address or os.environ["RAY_ADDRESS"])
    elif mine:
        watcher = _start()
    leave_once()  # Ray has put a handler of its own in the place of the one for SIGTERM
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if mine:
            with handlers_kept():
                ray.shutdown()
        if watcher is not None:
            watcher.stdin.close()  # it looks whether anything stayed, and ends


def joins(address: str | None) -> bool:
    """Whether a session joins a cluster that somebody else runs; RAY_ADDRESS stands in for None."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"


def _start() -> subprocess.Popen[bytes]:
    """Start a local Ray; the process that ends what it started when this one is gone."""
    import ray

    opening("Starting workers on this machine")
    folder = ray_folder(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR"))
    os.environ[_MARK] = f"{os.getpid()}-{secrets.token_hex(8)}"
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", reaper.__file__, f"{_MARK}={os.environ[_MARK]}"],
        stdin=subprocess.PIPE,
        env={},
        start_new_session=True,  # Ctrl-C reaches every process of a terminal
    )
    try:
        with without_raw_lines():
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                object_store_memory=OBJECT_STORE_BYTES,
                namespace=f"video2lora-{os.getpid()}",
                _temp_dir=folder,
                **ray_logging(),
            )
            own_lines()
    except BaseException as error:
        watcher.stdin.close()
        if "timed out during startup" in str(error):
            raise NoCluster(
                "The workers did not start in time, as happens when a machine is busy or its memory full; "
                "try again when it is less so."
            ) from error
        raise
    finally:
        del os.environ[_MARK]
    return watcher


def ray_folder(temporary: str | None) -> str | None:
    """Where Ray keeps its sockets and logs: None is Ray's own choice, which follows TMPDIR.

    Args:
        temporary: what TMPDIR says. Where that makes the sockets' names too long, /tmp takes its place.
    """
    return "/tmp/ray" if temporary and len(os.fsencode(temporary)) > _LONGEST_FOLDER else None


@contextmanager
def without_raw_lines() -> Iterator[None]:
    """Drop what Ray's C++ writes to the error stream beneath Python; what it raises says the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _join(address: str) -> None:
    """Join a cluster, with this machine's token where it asks for one."""
    import ray
    from ray._raylet import GcsClient

    opening(f"Joining the Ray cluster at {address}")
    if address != "auto":
        host, port = head_of(address)
        require_listener(host, port)
        try:
            with without_raw_lines():
                GcsClient(address=f"{host}:{port}")
        except ray.exceptions.AuthenticationError:
            in_token_mode(address)
        except ray.exceptions.RpcError as error:
            raise NoCluster(f"What listens at {address} does not answer as Ray does: {error}.") from error
    try:
        with without_raw_lines():
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **ray_logging())
            own_lines()
    except ray.exceptions.AuthenticationError:
        raise NoCluster(
            f"The cluster at {address} does not take this machine's token; put that of its head "
            "(`ray get-auth-token` there) into RAY_AUTH_TOKEN."
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NoCluster(
            f"The cluster at {address} cannot be joined: {str(error).splitlines()[0]} The command has to run "
            "on a machine of the cluster, with the same versions of Python and Ray."
        ) from error


def in_token_mode(address: str) -> None:
    """Send this machine's token from here on: `ray start` asks for one where there is one, and what connects
    by address sends none by itself.

    Raises:
        NoCluster: there is none.
    """
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    if not maybe_enable_token_auth_if_token_available(warn_if_disabled=False):
        raise NoCluster(
            f"The cluster at {address} asks for a token. Put the one of its head "
            "(`ray get-auth-token` there) into RAY_AUTH_TOKEN and set RAY_AUTH_MODE=token."
        )


def head_of(address: str) -> tuple[str, int]:
    """Host and port of a cluster's head.

    Raises:
        NoCluster: text that is no HOST:PORT; Ray's client protocol, for Ray Data and Train run beside a node.
    """
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise NoCluster(
            f"--address {address!r} is not HOST:PORT of a cluster's head, as in "
            f"--address 10.0.0.5:{DEFAULT_PORT}; without --address the command starts a Ray of its own."
        )
    return host.strip("[]"), int(port)


def require_listener(host: str, port: int) -> None:
    """See that somebody listens there; raises NoCluster where not."""
    try:
        socket.create_connection((host, port), timeout=_ANSWERS_WITHIN).close()
    except OSError as error:
        raise NoCluster(
            f"Nobody answers at {host}:{port} ({error.strerror or error}). Start a cluster there with "
            f"`ray start --head --port {port}`, or leave --address (and RAY_ADDRESS) away."
        ) from None
