"""Commands as jobs of a real cluster: a plain `ray start --head` with its dashboard."""

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.ray_jobs import RayJob, RayJobs, exit_status
from jobs.ray_session import NoCluster
from tests.jobs.plain_ray import PlainRay, plain_ray
from tests.jobs.test_cli import refused, video2lora

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[PlainRay]:
    with plain_ray(tmp_path_factory.mktemp("ray") / "log.txt", dashboard=True) as running:
        yield running


def sent(cluster: PlainRay, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return video2lora(*words, "--submit", "--address", cluster.dashboard, **options)


def test_a_command_runs_there_as_a_job_and_the_same_job_id_runs_it_once(cluster, tmp_path):
    words = ("sample", "videos", "--categories", "1", "--per-category", "2", "--job-id", "two-clips")
    done = sent(cluster, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Job two-clips is sent" in done.stderr
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").rglob("*.*")}
    assert len([path for path in made if path.suffix in (".mp4", ".webm", ".mkv", ".mov", ".avi")]) == 2
    again = sent(cluster, *words, cwd=tmp_path)
    assert "Job two-clips is there already" in again.stderr
    assert again.stdout == done.stdout and again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    other = sent(cluster, "settings-of-nothing", "--job-id", "two-clips")
    refused(other, "settings-of-nothing")
    refused(sent(cluster, "dedup", "-w", str(tmp_path), "--job-id", "two-clips"), "runs another command")


def test_a_command_that_is_refused_there_ends_with_its_sentence_and_status_2(cluster, tmp_path):
    done = sent(cluster, "train", "-w", str(tmp_path / "work"))
    assert done.returncode == 2
    assert "There is no catalogue" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_job_is_found_by_the_address_of_its_head_listed_followed_and_stopped(cluster, tmp_path):
    words = ("sample", str(tmp_path / "many"), "--categories", "40", "--per-category", "50")
    address = ("--address", cluster.head)
    told = video2lora(*words, "--submit", "--detach", "--job-id", "long", *address)
    assert told.returncode == 0 and "video2lora job stop long" in told.stderr
    until_it_runs(cluster, "long")
    [job] = [
        each
        for each in json.loads(video2lora("job", "list", "--json", *address).stdout)
        if each["job_id"] == "long"
    ]
    assert job["status"] == "RUNNING" and job["command"].startswith("video2lora sample")
    assert "RUNNING" in video2lora("job", "status", "long", *address).stdout

    following = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "job", "logs", "long", "--follow", *address],
        stderr=subprocess.PIPE,
    )
    time.sleep(4)
    following.send_signal(signal.SIGINT)
    assert following.wait(timeout=60) == 130
    assert RayJobs(cluster.dashboard).get("long").status == "RUNNING"

    assert "long: STOPPED" in video2lora("job", "stop", "long", *address).stdout
    assert video2lora("job", "logs", "long", "--follow", *address).returncode == 130


def until_it_runs(cluster: PlainRay, job_id: str) -> None:
    jobs = RayJobs(cluster.dashboard)
    for _ in range(200):
        if jobs.get(job_id).status == "RUNNING":
            return
        time.sleep(0.2)
    raise AssertionError(jobs.get(job_id))


def test_a_job_that_nobody_sent_is_told(cluster):
    refused(video2lora("job", "status", "nobody", "--address", cluster.dashboard), "knows no job 'nobody'")


def test_a_wrong_token_is_said_in_a_sentence(cluster):
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    refused(
        video2lora("job", "list", "--address", cluster.dashboard, **wrong),
        "does not take this machine's token",
    )


def test_an_address_at_which_nobody_listens_is_said_in_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = video2lora("train", "--submit", "--address", f"127.0.0.1:{port}")
        refused(done, f"Nobody answers at 127.0.0.1:{port}")


class OldRay(http.server.BaseHTTPRequestHandler):
    """The job server of a cluster of an older Ray, as far as a client asks it before it sends anything."""

    def do_GET(self):
        said = {"ray_version": "2.9.0", "data": {"summary": []}} if self.server.is_ray else {"hello": "world"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(params=[True, False])
def server(request) -> Iterator[http.server.HTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldRay)
    made.is_ray = request.param
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


def test_a_cluster_of_another_version_and_a_server_that_is_no_cluster_are_said_in_a_sentence(server):
    done = video2lora("judge", "--submit", "--address", f"http://127.0.0.1:{server.server_port}")
    refused(done, "runs Ray 2.9.0" if server.is_ray else "does not take jobs as Ray does")


def test_a_job_that_never_ran_is_no_success():
    from jobs.ray_jobs import JobFailed

    with pytest.raises(JobFailed, match="no memory"):
        exit_status(RayJob("a", "FAILED", "video2lora train", "no memory\nat all"))
    with pytest.raises(JobFailed, match="python was not found"):
        exit_status(RayJob("a", "FAILED", "video2lora train", "x", code=127))
    assert [exit_status(RayJob("a", "FAILED", "", "x", code=code)) for code in (1, 2, 130)] == [1, 2, 130]


def test_ray_client_addresses_are_refused():
    with pytest.raises(NoCluster, match="is not HOST:PORT"):
        RayJobs("ray://head:10001")


def test_the_packages_that_are_sent_are_those_that_import_linter_knows():
    from jobs.ray_jobs import ROOMS

    root = Path(__file__).parents[2]
    assert set(ROOMS) == {path.parent.name for path in root.glob("*/__init__.py")} - {"tests"}
