"""The metrics against `fastvideo.eval`, which others wrote: the same of made-up clips and random networks."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.evaluation import beside_fastvideo as beside
from training.evaluation import aesthetic, consistency, dynamic_degree, i3d
from training.evaluation.frechet import frechet_distance


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict:
    assert (beside.BESIDE / "fastvideo").is_dir(), "`make setup` puts fastvideo beside the environment"
    done = subprocess.run(
        [sys.executable, "-m", beside.__name__, str(tmp_path_factory.mktemp("theirs"))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def clips() -> list[torch.Tensor]:
    return [torch.from_numpy(clip) for clip in beside.clips()]


def test_the_frechet_distance(theirs):
    assert frechet_distance(beside.features(0), beside.features(1)) == pytest.approx(
        theirs["frechet"], rel=1e-6
    )


def test_what_i3d_is_shown(theirs, clips):
    found = i3d.features(beside.Video().eval(), torch.stack(clips), "squash")
    np.testing.assert_allclose(found.numpy(), theirs["logits"], rtol=1e-4, atol=1e-5)


def test_subject_consistency(theirs, clips):
    model = beside.network(16)
    found = [consistency.consistency(consistency.frame_vectors(model, clip)) for clip in clips]
    assert found == pytest.approx(theirs["consistency"], abs=1e-5)


def test_aesthetic_quality(theirs, clips):
    tower = beside.network(768)
    torch.manual_seed(1)
    head = nn.Linear(768, 1)
    found = [aesthetic.aesthetic(clip, tower, head) for clip in clips]
    assert found == pytest.approx(theirs["aesthetic"], abs=1e-5)


def test_dynamic_degree(theirs, clips):
    for fps, expected in theirs["dynamic"].items():
        found = []
        for clip in clips:
            seen = clip[list(dynamic_degree.sampled(len(clip), float(fps)))].permute(0, 3, 1, 2).float()
            flows = beside.flow_between(seen[:-1], seen[1:])
            found.append(float(dynamic_degree.is_dynamic(flows, len(seen))))
        assert found == expected
