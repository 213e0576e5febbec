"""Commands as jobs of a Ray cluster: sent to the job server on its head, followed, listed and stopped.

Ray keeps the jobs, their logs and how they ended; nothing is kept here.
"""

import asyncio
import json
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import jobs
from jobs.errors import JobError
from jobs.job_server import ANSWERS_WITHIN, connected, first_line, server_of
from jobs.ray_session import NoCluster
from jobs.sending import Sending
from jobs.workspace import code_revision

ROOMS = ("catalog", "jobs", "pipeline", "training")
_TRIES = 5
_BEGINS_WITHIN = 20  # seconds
# A command that is told to stop writes down what it did.
_STOP_SECONDS = 60
_WORDS, _REVISION = "video2lora", "revision"


class NoSuchJob(JobError):
    """A job that the cluster does not know."""


class JobFailed(JobError):
    """A job that ended before or beside its command."""


@dataclass(frozen=True)
class RayJob:
    """One job of a cluster.

    Attributes:
        job_id: names it.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED, as Ray says it.
        command: what it runs.
        message: what Ray says of it.
        code: the exit status of the command, None while there is none.
        began, ended: when; None where it has not.
    """

    job_id: str
    status: str
    command: str
    message: str = ""
    code: int | None = None
    began: datetime | None = None
    ended: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")

    def facts(self) -> dict[str, Any]:
        """For programs."""
        times = {name: at and at.isoformat() for name, at in (("began", self.began), ("ended", self.ended))}
        return {
            "job_id": self.job_id,
            "status": self.status,
            "command": self.command,
            "message": self.message,
            "exit_status": self.code,
            **times,
        }


class RayJobs:
    """The jobs of one cluster.

    Args:
        address: see `server_of`.

    Raises:
        NoCluster: nothing answers there, or it takes no jobs, or not from here.
    """

    def __init__(self, address: str | None = None) -> None:
        self.url = server_of(address)
        self._client = connected(self.url)

    @property
    def ray_version(self) -> str:
        return str(self._client._server_ray_version)

    def nodes(self) -> list[str]:
        """Names of the cluster's machines."""
        answer = self._client._do_request("GET", "/nodes?view=summary", timeout=ANSWERS_WITHIN)
        summary = answer.json().get("data", {}).get("summary", [])
        return sorted({each["hostname"] for each in summary if each.get("hostname")})

    def submit(self, sending: Sending, words: Sequence[str]) -> tuple[str, bool]:
        """Have a command run there; the job's id, and whether it was there before.

        Args:
            sending: how.
            words: the command line as the cluster is to read it.

        Raises:
            NoCluster: its Ray is of another version than the code that is sent.
            JobError: the id belongs to another command; the cluster refuses the job.
        """
        import ray

        if sending.code == "tree" and self.ray_version != ray.__version__:
            raise NoCluster(
                f"The cluster at {self.url} runs Ray {self.ray_version}, and this code is written for "
                f"{ray.__version__}; start it from an image of this code's lock, or run what it has with "
                "--code image."
            )
        job_id = sending.job_id or f"{words[0]}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
        told = {_WORDS: json.dumps(list(words)), _REVISION: code_revision()}
        if sending.job_id and (known := self._details(job_id)) is not None:
            return self._same(job_id, known, told)
        try:
            self._send(
                entrypoint=f"python -m jobs.cli {shlex.join(words)}",
                submission_id=job_id,
                metadata=told,
                runtime_env=_environment(sending.code, told[_REVISION]),
            )
        except RuntimeError as error:
            # Another sender may have been first.
            if (known := self._details(job_id)) is not None and "already exists" in str(error):
                return self._same(job_id, known, told)
            raise JobFailed(f"The cluster does not take the job: {first_line(error)}") from error
        return job_id, False

    def _send(self, **job: Any) -> None:
        """Send a job, and wait for a cluster that has just begun: its head answers before it can run any."""
        patient_until = time.monotonic() + _BEGINS_WITHIN
        while True:
            try:
                self._client.submit_job(**job)
                return
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > patient_until:
                    raise
            time.sleep(1)

    def _same(self, job_id: str, known: Any, told: dict[str, str]) -> tuple[str, bool]:
        if (known.metadata or {}).get(_WORDS) != told[_WORDS]:
            raise JobFailed(
                f"Job {job_id} is there already and runs another command: {_command(known)}. Choose another "
                "--job-id."
            )
        return job_id, True

    def all(self) -> list[RayJob]:
        """Every job that was sent to the cluster, the newest first."""
        found = [_job(each) for each in self._client.list_jobs() if each.submission_id]
        return sorted(found, key=lambda job: job.began or datetime.max.replace(tzinfo=UTC), reverse=True)

    def get(self, job_id: str) -> RayJob:
        """One job.

        Raises:
            NoSuchJob: the cluster does not know it.
        """
        details = self._details(job_id)
        if details is None:
            raise NoSuchJob(
                f"The cluster at {self.url} knows no job {job_id!r}; `video2lora job list` lists them."
            )
        return _job(details)

    def logs(self, job_id: str) -> str:
        """What the job has printed until now."""
        self.get(job_id)
        return str(self._client.get_job_logs(job_id))

    def follow(self, job_id: str) -> RayJob:
        """Print what the job prints until it ends; the job as it ended.

        Raises:
            NoCluster: the cluster does not answer any more.
        """
        import aiohttp

        printed, failures = 0, 0
        while True:
            try:
                for text in self._after(job_id, printed):
                    printed, failures = printed + len(text), 0
                    sys.stdout.write(text)
                    sys.stdout.flush()
                if (job := self.get(job_id)).over:
                    return job
            except (OSError, RuntimeError, aiohttp.ClientError) as error:
                failures += 1
                if failures == _TRIES:
                    raise NoCluster(
                        f"The cluster at {self.url} does not answer any more ({first_line(error)}); the job "
                        f"may go on: `video2lora job logs {job_id} --follow`."
                    ) from error
            time.sleep(1)

    def stop(self, job_id: str) -> RayJob:
        """Have a job write down what it did and end, and wait for that; the job as it ended."""
        if not self.get(job_id).over:
            self._client.stop_job(job_id)
        patient_until = time.monotonic() + 2 * _STOP_SECONDS
        while not (job := self.get(job_id)).over and time.monotonic() < patient_until:
            time.sleep(0.5)
        return job

    def _details(self, job_id: str) -> Any:
        try:
            return self._client.get_job_info(job_id)
        except RuntimeError as error:
            if "404" in str(error):
                return None
            raise

    def _after(self, job_id: str, printed: int) -> Iterator[str]:
        """What a job prints after its first characters, until the server has no more to say."""
        tail = self._client.tail_job_logs(job_id)
        with asyncio.Runner() as runner:
            while True:
                try:
                    text = runner.run(anext(tail))  # type: ignore[arg-type]
                except StopAsyncIteration:
                    return
                fresh = text[printed:]
                printed = max(0, printed - len(text))
                if fresh:
                    yield fresh


def exit_status(job: RayJob) -> int:
    """The status with which the command ended, for whoever waited for it.

    Raises:
        JobFailed: it never came to an end of its own.
    """
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return 130
    if job.code in (1, 2, 130):
        return job.code
    what = "python was not found there" if job.code == 127 else job.message.strip().splitlines()[0][:300]
    raise JobFailed(f"Job {job.job_id} failed: {what.rstrip('.')}. See `video2lora job logs {job.job_id}`.")


def here() -> str:
    """The name of this machine, as a cluster would tell it."""
    return socket.gethostname()


def _job(details: Any) -> RayJob:
    def at(milliseconds: int | None) -> datetime | None:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None

    return RayJob(
        details.submission_id,
        str(details.status.value),
        _command(details),
        details.message or "",
        details.driver_exit_code,
        at(details.start_time),
        at(details.end_time),
    )


def _command(details: Any) -> str:
    words = (details.metadata or {}).get(_WORDS)
    return f"video2lora {shlex.join(json.loads(words))}" if words else str(details.entrypoint)


def _environment(code: str, revision: str) -> dict[str, Any]:
    """What the job's processes are given besides the cluster's own environment.

    Credentials are not sent: whoever may look at the cluster could read them there.
    """
    variables = {
        "PYTHONUNBUFFERED": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS),
        "VIDEO2LORA_REVISION": revision,
    }
    if code == "image":
        del variables["VIDEO2LORA_REVISION"]
        return {"env_vars": variables}
    top = Path(jobs.__file__).resolve().parents[1]
    return {
        "env_vars": variables,
        "py_modules": [str(top / room) for room in ROOMS],
        "excludes": ["__pycache__", "*.pyc"],
    }
