"""`video2lora doctor`: what is fit, what is not, and what to do about it."""

import json
import shutil
from pathlib import Path

import pytest
import typer

from jobs.doctor import doctor_job, look
from jobs.workspace import Workspace
from pipeline.checkup.cluster import compare_clocks, compare_versions
from pipeline.checkup.environment import look_at_gpus, look_at_packages, look_at_python, nvidia
from pipeline.checkup.finding import Finding, Verdict
from pipeline.checkup.room import look_at_disk, look_at_folder, look_at_memory
from pipeline.workers.versions import own_versions
from tests.jobs.test_cli import video2lora
from tests.pipeline.made import GEOMETRY, make_catalog

without_gpu = pytest.mark.skipif(bool(nvidia()[0]), reason="this machine has a GPU")


def found(workspace: Workspace, about: str, address: str | None = None) -> Finding:
    return next(each for each in look(workspace, address) if each.about == about)


def test_a_machine_that_can_do_the_work_has_no_problems(tmp_path, capsys):
    make_catalog(tmp_path / "work", {"a": ("melt", "Melt")})
    doctor_job(Workspace(tmp_path / "work", overrides=GEOMETRY), None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["fit"]
    about = {each["about"]: each for each in told["findings"]}
    assert "1 clips" in about["catalogue"]["said"]
    assert about.keys() >= {"Python", "packages", "GPU", "memory", "disk", "weights", "training"}


def test_a_problem_ends_with_status_2_and_says_what_to_do(tmp_path, capsys):
    workspace = Workspace(tmp_path / "work", overrides=[f"backbone.model={tmp_path / 'nowhere'}"])
    with pytest.raises(typer.Exit) as left:
        doctor_job(workspace, None, as_json=False)
    assert left.value.exit_code == 2
    said = capsys.readouterr().out
    assert "✗ weights" in said and "nowhere" in said
    assert "1 problems" in said
    assert not (tmp_path / "work").exists()  # a look makes nothing


@without_gpu
def test_no_gpu_where_the_profile_asks_for_one_is_a_problem_and_where_it_would_be_slow_a_warning(tmp_path):
    asks = Workspace(tmp_path, overrides=["train.device=cuda"])
    assert found(asks, "GPU").verdict is Verdict.PROBLEM
    assert "train.device" in found(asks, "GPU").said
    assert next(iter(look_at_gpus(False, wants_gpu=True))).verdict is Verdict.WARNING
    assert next(iter(look_at_gpus(False, wants_gpu=False))).verdict is Verdict.OK


def test_training_that_does_not_fit_is_told_with_what_it_would_take(tmp_path):
    finding = found(Workspace(tmp_path, overrides=["train.memory_gb=0.01"]), "training")
    assert finding.verdict is Verdict.PROBLEM
    assert "GB" in finding.said


def test_a_catalogue_whose_files_are_gone_is_a_problem_and_points_to_the_backup(tmp_path):
    make_catalog(tmp_path / "work", {"a": ("melt", "Melt")})
    shutil.rmtree(tmp_path / "work" / "catalog" / "clips.lance" / "data")
    finding = found(Workspace(tmp_path / "work", overrides=GEOMETRY), "catalogue")
    assert finding.verdict is Verdict.PROBLEM
    assert "video2lora restore" in finding.do


def test_a_catalogue_of_another_geometry_than_the_profiles_is_a_problem(tmp_path):
    make_catalog(tmp_path / "work", {"a": ("melt", "Melt")})
    finding = found(Workspace(tmp_path / "work"), "catalogue")
    assert finding.verdict is Verdict.PROBLEM
    assert "64x96" in finding.said


def test_a_bucket_is_written_to_and_one_that_does_not_answer_is_told(s3_endpoint, tmp_path, monkeypatch):
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="doctor")
    good = Workspace(tmp_path / "good", catalog_uri="s3://doctor/effects")
    assert found(good, "bucket").verdict is Verdict.OK
    keys = [each["Key"] for each in client.list_objects_v2(Bucket="doctor")["Contents"]]
    assert not [key for key in keys if ".video2lora-" in key]
    bad = Workspace(tmp_path / "bad", catalog_uri="s3://no-such-bucket/effects")
    assert found(bad, "catalogue").verdict is Verdict.PROBLEM
    assert "bucket" in found(bad, "catalogue").said


def test_an_address_that_answers_nothing_is_a_problem(tmp_path):
    # In a process of its own: one that is in a cluster stays in it.
    done = video2lora("doctor", "-w", str(tmp_path), "--address", "127.0.0.1:9", "--json")
    assert done.returncode == 2
    [finding] = [each for each in json.loads(done.stdout)["findings"] if each["about"] == "cluster"]
    assert finding["verdict"] == Verdict.PROBLEM
    assert "127.0.0.1:9" in finding["said"]


def test_the_machines_of_a_cluster_are_asked_for_their_versions_and_clocks(ray_cluster, tmp_path):
    told = {each.about: each for each in look(Workspace(tmp_path), "auto")}
    assert "1 machines, 4 processors" in told["cluster"].said
    assert told["versions"].verdict is told["clocks"].verdict is Verdict.OK
    assert "GPU" not in told  # the cluster's count, not this machine's


def test_a_machine_of_other_versions_is_a_problem_that_names_it():
    own = own_versions()
    assert compare_versions({"a": own, "b": own}, own).verdict is Verdict.OK
    finding = compare_versions({"a": own, "b": own | {"ray": "2.59.0"}}, own)
    assert finding.verdict is Verdict.PROBLEM
    assert f"b has ray 2.59.0 (here {own['ray']})" in finding.said


def test_other_packages_than_the_locks_are_named(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("ray==2.60.0\ntorch==2.15.0\nhypothesis==6.1\n")
    same = {"ray": "2.60.0", "torch": "2.15.0", "hypothesis": "6.1"}
    assert look_at_packages(lock, same).verdict is Verdict.OK
    other = look_at_packages(lock, same | {"ray": "2.59.0"})
    assert other.verdict is Verdict.WARNING
    assert "ray 2.59.0 (locked: 2.60.0)" in other.said
    without = look_at_packages(lock, {"ray": "2.60.0", "hypothesis": "6.1"})
    assert without.verdict is Verdict.PROBLEM
    assert "torch" in without.said
    # Only tests need it: nothing stops without it.
    assert look_at_packages(lock, {"ray": "2.60.0", "torch": "2.15.0"}).verdict is Verdict.WARNING


def test_another_python_is_a_problem():
    assert look_at_python((3, 12)).verdict is Verdict.PROBLEM
    assert look_at_python((3, 11)).verdict is Verdict.OK


def test_memory_and_disk_are_held_against_what_is_asked(tmp_path):
    assert look_at_memory(900, free=8 * 10**9, whole=16 * 10**9).verdict is Verdict.OK
    assert look_at_memory(900, free=10**8, whole=16 * 10**9).verdict is Verdict.WARNING
    little = look_at_memory(900, free=10**8, whole=5 * 10**8)
    assert little.verdict is Verdict.PROBLEM
    assert "ingest.worker_memory_mb" in little.do
    verdicts = [look_at_disk(tmp_path / "none" / "yet", free).verdict for free in (10**9, 10**10, 10**12)]
    assert verdicts == [Verdict.PROBLEM, Verdict.WARNING, Verdict.OK]


def test_a_folder_that_cannot_be_written_to_is_told():
    finding = look_at_folder(Path("/proc/video2lora"))
    assert finding.verdict is Verdict.PROBLEM


def test_clocks_that_differ_are_told_by_how_much_and_slow_answers_are_no_difference():
    assert compare_clocks({"a": (0.1, 0.01), "b": (-1.0, 0.2)}).verdict is Verdict.OK
    assert compare_clocks({"a": (5.0, 4.0)}).verdict is Verdict.OK
    finding = compare_clocks({"a": (0.0, 0.1), "b": (-75.0, 0.2)})
    assert finding.verdict is Verdict.WARNING
    assert "b -75.0 s" in finding.said
