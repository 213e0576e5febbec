"""The container file, the cluster files and the Slurm script say what the lock and the commands say."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.infra.manifests import INFRA, ROOT
from tests.infra.test_manifests import LOCKED, VERSION

IMAGE = (INFRA / "docker" / "Dockerfile").read_text()
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.*?)(?<!\\)$", re.sub(r"^#.*\n", "", IMAGE, flags=re.M), re.M | re.S)
CLUSTERS = sorted((INFRA / "clusters").glob("*.yaml"))


def said(instruction: str) -> list[str]:
    return [words for name, words in INSTRUCTIONS if name == instruction]


def test_the_image_is_built_of_the_lock_by_the_steps_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    runs = " ".join(said("RUN"))
    for step in (
        "grep -v '^deepspeed==' requirements.lock",
        "grep '^deepspeed==' requirements.lock",
        "--no-build-isolation --no-deps -e .",
    ):
        assert step in makefile and step in runs
    first, second = runs.index("-r first.txt"), runs.index("--no-build-isolation --no-deps -r second.txt")
    assert first < second
    # Nothing comes with a version of its own.
    assert not re.search(r"pip install (?!-r|--no-build-isolation --no-deps -[re] )", runs)


def test_the_image_has_the_python_and_the_cuda_of_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = project["requires-python"].removeprefix(">=")
    assert any(
        words.startswith(f"python:{python}-slim") and words.endswith("AS cpu") for words in said("FROM")
    )
    cuda = ".".join(LOCKED["cuda-toolkit"].split(".")[:2])
    assert f'NVIDIA_REQUIRE_CUDA="cuda>={cuda}"' in " ".join(said("ENV"))
    assert LOCKED["nvidia-cuda-runtime"].startswith(f"{cuda}.")


def test_nobody_in_the_image_is_root_and_it_fetches_nothing_when_it_runs():
    assert said("USER") == ["1000"]
    names = [name for name, _ in INSTRUCTIONS]
    assert max(n for n, name in enumerate(names) if name == "RUN") < names.index("USER")
    assert "HF_HUB_OFFLINE=1" in " ".join(said("ENV"))
    assert not re.search(r"hf download|huggingface|curl |wget http", " ".join(said("RUN")))


def test_the_image_serves_and_is_asked_at_an_address_that_needs_no_token():
    assert json.loads(said("CMD")[-1])[:2] == ["video2lora", "serve"]
    from jobs.web.gate import OPEN

    (asked,) = re.findall(r"http://127\.0\.0\.1:8000(/\S*)", " ".join(said("HEALTHCHECK")))
    assert asked in OPEN


def test_the_commands_above_the_image_build_its_targets_with_the_versions_tag():
    for target in ("cpu", "gpu"):
        assert f"--target {target} -t video2lora:{VERSION}-{target}" in IMAGE
        assert f"AS {target}\n" in IMAGE


def test_what_no_image_needs_is_left_out_of_it_and_what_it_copies_is_not():
    left_out = (INFRA / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {".git", ".venv", "tests"} <= set(left_out)
    for needed in (
        "requirements.lock",
        "pyproject.toml",
        "catalog",
        "jobs",
        "pipeline",
        "training",
        "README.md",
    ):
        assert needed not in left_out


@pytest.mark.parametrize("file", CLUSTERS, ids=lambda file: file.stem)
def test_a_cluster_file_is_one_that_rays_launcher_takes(file):
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    described = yaml.safe_load(file.read_text())
    jsonschema.validate(described, schema)
    assert set(described) <= set(schema["properties"])
    assert described["docker"]["image"] == f"video2lora:{VERSION}-gpu"
    for commands in (described["head_start_ray_commands"], described["worker_start_ray_commands"]):
        assert any("ray start" in each and "--metrics-export-port=8080" in each for each in commands)
    # A cluster that others can reach asks for a token.
    assert "-e RAY_AUTH_MODE=token" in described["docker"]["run_options"]
    assert "~/.ray/auth_token" in described["file_mounts"]


def slurm(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script where `srun` and `scontrol` say what they are given."""
    for name, does in {"srun": 'printf "%s\\n" "$@"', "scontrol": "printf 'node7\\nnode8\\n'"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    given = {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": "41234",
        "SLURM_CPUS_PER_TASK": "48",
        "SLURM_GPUS_ON_NODE": "4",
    }
    return subprocess.run(
        ["bash", str(INFRA / "clusters" / "slurm.sh"), *words],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **given},
        capture_output=True,
        text=True,
    )


def test_the_slurm_script_runs_a_command_on_the_first_of_all_machines(tmp_path):
    from ray.scripts.scripts import cli

    done = slurm(tmp_path, "train", "--workdir", "/shared/work", "--workers", "8")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["ray", "symmetric-run"] and words[1] in cli.commands
    started, command = words[2 : words.index("--")], words[words.index("--") + 1 :]
    options = dict(zip(started[::2], started[1::2], strict=True))
    assert options["--min-nodes"] == "2" and options["--num-gpus"] == "4"
    assert command[:2] == ["video2lora", "train"]
    assert options["--address"] == command[-1] == "node7:21234"
    known = {each for option in cli.commands["start"].params for each in option.opts}
    assert options.keys() - {"--min-nodes"} <= known


def test_the_slurm_script_without_a_command_says_what_to_type(tmp_path):
    done = slurm(tmp_path)
    assert done.returncode != 0
    assert "name a command" in done.stderr
