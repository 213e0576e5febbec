"""What untrusted files can do to the decoder, and what they cannot do to anything else."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.video.limits import DecodeLimits
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.picture import read_picture
from pipeline.video.sandbox import Sandbox, SandboxBroken
from pipeline.video.transcode import read_clip
from tests.pipeline.video.test_container import SCRIPTS, movie_with_reference
from tests.pipeline.video.video_files import moving, write

SPEC = ClipSpec(num_frames=9, fps=8, height=64, width=96)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SPEC, NormaliseSettings()) as sandbox:
        yield sandbox


def answer(sandbox, path):
    with path.open("rb") as file:
        return sandbox.normalise(file)


def test_a_video_comes_back_as_a_clip_with_scores_and_facts(sandbox, tmp_path):
    found = answer(sandbox, write(tmp_path / "a.mp4", moving(30)))
    assert found.outcome == "normalised"
    assert found.facts["source_frames"] == 30
    (clip,) = found.clips
    assert read_clip(clip.video).shape == (9, 64, 96, 3)
    assert clip.poster.startswith(b"\xff\xd8")
    assert 0 < clip.scores["motion"] < 1
    assert len(clip.scores["phash"]) == 25


def test_a_picture_is_decoded_there_too_and_one_that_lies_is_an_answer(sandbox, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    answers = {}
    for kind in ("png", "jpg", "webp", "gif", "tif", "bmp"):
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}")
        with (tmp_path / f"a.{kind}").open("rb") as file:
            answers[kind] = sandbox.picture(file)
    own = read_picture(tmp_path / "a.png", SPEC)
    assert np.array_equal(answers["png"].picture, own)
    assert {each.picture.shape for each in answers.values()} == {(64, 96, 3)}
    for name, content in {"video": write(tmp_path / "v.mp4", moving(9)).read_bytes(), "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with (tmp_path / name).open("rb") as file:
            assert (sandbox.picture(file).picture, sandbox.picture(file).reason) == (None, None)
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:-2000])
    with (tmp_path / "torn.png").open("rb") as file:
        found = sandbox.picture(file)
    assert found.outcome == "rejected"
    assert "Save it again as PNG" in found.reason
    assert str(tmp_path) not in found.reason


def test_one_child_serves_many_files(sandbox, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    answer(sandbox, path)
    child = sandbox._child.pid
    answer(sandbox, path)
    assert sandbox._child.pid == child


class Crashing:
    """A file at which a process crashes: while it is handed over to it."""

    def __init__(self, path: Path, process: int) -> None:
        self.file, self.process = path.open("rb"), process

    def fileno(self) -> int:
        os.kill(self.process, signal.SIGSEGV)
        return self.file.fileno()


def test_a_crash_is_an_answer_and_the_next_file_is_served(sandbox, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    answer(sandbox, path)
    died = sandbox.normalise(Crashing(path, sandbox._child.pid))
    assert (died.outcome, died.code) == ("quarantined", "crashed")
    assert "SIGSEGV" in died.reason
    assert answer(sandbox, path).outcome == "normalised"


def test_a_decoder_that_stands_still_is_killed_and_the_file_may_come_again(tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    with Sandbox(SPEC, NormaliseSettings(limits=DecodeLimits(decode_seconds=3))) as sandbox:
        answer(sandbox, path)
        child = sandbox._child
        os.kill(child.pid, signal.SIGSTOP)
        found = answer(sandbox, path)
        assert (found.outcome, found.code) == ("quarantined", "machine_busy")
        assert "stood still for 3 s" in found.reason
        assert child.poll() is not None
        assert answer(sandbox, path).outcome == "normalised"


def test_a_decoder_may_take_its_time_to_start_where_the_machine_is_busy(tmp_path, monkeypatch):
    """By the clock it takes longer than it may take of a processor."""
    monkeypatch.setattr("pipeline.video.sandbox._START_SECONDS", 8.0)
    path = write(tmp_path / "a.mp4", moving(12))
    with Sandbox(SPEC, NormaliseSettings()) as sandbox:

        def hold_back():
            while sandbox._child is None:
                time.sleep(0.01)
            os.kill(sandbox._child.pid, signal.SIGSTOP)
            time.sleep(9)
            os.kill(sandbox._child.pid, signal.SIGCONT)

        busy = threading.Thread(target=hold_back)
        busy.start()
        assert answer(sandbox, path).outcome == "normalised"
        busy.join()


def test_a_decoder_that_works_and_is_never_ready_is_a_fault_of_the_installation(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.video.sandbox._START_SECONDS", 0.01)
    never = SimpleNamespace(select=lambda *_: (time.sleep(0.005), ([], [], []))[1])
    monkeypatch.setattr("pipeline.video.sandbox.select", never)
    monkeypatch.setattr("pipeline.video.sandbox._BUSY", 10_000)
    with (
        Sandbox(SPEC, NormaliseSettings()) as sandbox,
        pytest.raises(SandboxBroken, match=r"not ready after 0\.01 s of a processor"),
    ):
        answer(sandbox, write(tmp_path / "a.mp4", moving(12)))


def test_a_file_has_its_processor_time_however_busy_the_machine_is(tmp_path):
    """The decoder runs for a twentieth of the time, as beside twenty others, and is done late."""
    path = write(tmp_path / "a.mp4", moving(60, 240, 360))
    with Sandbox(
        ClipSpec(height=240, width=368), NormaliseSettings(limits=DecodeLimits(decode_seconds=1))
    ) as sandbox:
        assert answer(sandbox, path).outcome == "normalised"
        child, over = sandbox._child, threading.Event()

        def hold_back():
            while not over.wait(0.02):
                os.kill(child.pid, signal.SIGSTOP)
                over.wait(0.4)
                os.kill(child.pid, signal.SIGCONT)

        busy = threading.Thread(target=hold_back)
        busy.start()
        try:
            found = answer(sandbox, path)
        finally:
            over.set()
            busy.join()
        assert found.outcome == "normalised"
        assert found.seconds > 1 > found.cpu_seconds


def test_a_file_that_needs_too_much_memory_is_an_answer_and_the_next_file_is_served(tmp_path):
    settings = NormaliseSettings(limits=DecodeLimits(memory_mb=300))
    with Sandbox(ClipSpec(num_frames=49, fps=8, height=1600, width=2400), settings) as sandbox:
        found = answer(sandbox, write(tmp_path / "a.mp4", moving(12)))
        assert (found.outcome, found.code) == ("quarantined", "too_much_memory")
        (tmp_path / "text.mp4").write_text("no video")
        assert answer(sandbox, tmp_path / "text.mp4").code == "not_a_video"


@pytest.fixture
def listener():
    """A socket on this machine in which every connection waits to be accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def nobody_called(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


def test_crafted_files_reach_neither_another_file_nor_a_socket(sandbox, tmp_path, listener):
    port = listener.getsockname()[1]
    secret = write(tmp_path / "secret.mp4", np.full((12, 64, 96, 3), 255, np.uint8))
    address = f"http://127.0.0.1:{port}/x.ts".encode()
    crafted = {
        "playlist of a file": f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "playlist of an address": b"#EXTM3U\n#EXTINF:1,\n" + address + b"\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "reference": movie_with_reference(b"url ", 0, str(secret).encode() + b"\0"),
        "alias": movie_with_reference(b"alis", 0, str(secret).encode() + b"\0"),
        "remote": movie_with_reference(b"url ", 0, address + b"\0"),
        **SCRIPTS,
    }
    for name, content in crafted.items():
        path = tmp_path / "crafted.mp4"
        path.write_bytes(content)
        found = answer(sandbox, path)
        assert (found.outcome, found.code, found.clips) == ("rejected", "refers_elsewhere", []), name
    assert nobody_called(listener)


LOCKED = """
import socket, subprocess, sys
from pipeline.video import lockdown
if not lockdown.confine():
    print("unconfined"); sys.exit()
for name, act in {
    "open": lambda: open(sys.argv[1]),
    "write": lambda: open(sys.argv[1] + ".new", "w"),
    "socket": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))),
    "program": lambda: subprocess.run(["true"]),
}.items():
    try:
        act(); print(name, "allowed")
    except OSError as error:
        print(name, type(error).__name__)
"""


def test_a_confined_process_can_open_no_file_no_socket_and_no_program(tmp_path, listener):
    (tmp_path / "secret").write_text("x")
    command = [sys.executable, "-c", LOCKED, str(tmp_path / "secret"), str(listener.getsockname()[1])]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600).stdout.splitlines()
    if said == ["unconfined"]:
        pytest.skip("this kernel has no system call filter")
    assert said == [f"{name} PermissionError" for name in ("open", "write", "socket", "program")]
    assert nobody_called(listener)


def test_the_decoder_runs_confined_where_the_kernel_can(sandbox, tmp_path):
    answer(sandbox, write(tmp_path / "a.mp4", moving(12)))
    assert sandbox.confined == (sys.platform == "linux" and os.uname().machine in {"x86_64", "aarch64"})


def test_the_child_ends_with_its_parent(tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    script = (
        "import os, sys\n"
        "from catalog.clip_spec import ClipSpec\n"
        "from pipeline.video.sandbox import Sandbox\n"
        "from pipeline.video.normalise import NormaliseSettings\n"
        "sandbox = Sandbox(ClipSpec(9, 8, 64, 96), NormaliseSettings())\n"
        "sandbox.normalise(open(sys.argv[1], 'rb'))\n"
        "print(sandbox._child.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    child = int(subprocess.run(command, capture_output=True, text=True, timeout=600).stdout)
    for _ in range(600):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child outlived its parent")
