"""TensorBoard is tested with the rows in test_watch.py."""

from importlib.util import find_spec

import pytest

from training.config import TrainSettings
from training.trackers import PACKAGES, TRACKERS, TrackerMissing, require_trackers


def test_what_the_default_needs_is_installed_with_the_project():
    assert TrainSettings().trackers == ("tensorboard",)
    require_trackers(TrainSettings().trackers)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_sentence_with_the_command(name):
    if find_spec(PACKAGES[name]) is not None:
        pytest.skip(f"{name} is installed here")
    with pytest.raises(TrackerMissing, match=f"pip install {PACKAGES[name]}"):
        require_trackers(["tensorboard", name])


def test_every_tracker_that_may_be_set_exists():
    assert TRACKERS.keys() == PACKAGES.keys()
    assert TrainSettings(trackers=tuple(TRACKERS)).trackers == tuple(TRACKERS)


def test_no_tracker_at_all_is_a_setting():
    require_trackers(TrainSettings(trackers=()).trackers)
