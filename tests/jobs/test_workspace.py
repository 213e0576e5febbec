"""What a working directory remembers between commands."""

from jobs.workspace import Workspace


def steps(folder, **options):
    return Workspace(folder, **options).profile.train.steps


def test_the_first_commands_settings_stay_and_later_overrides_do_not(tmp_path):
    Workspace(tmp_path, overrides=["train.steps=7"]).remember_profile()
    Workspace(tmp_path, overrides=["train.steps=9"]).remember_profile(succeeded=True)
    assert steps(tmp_path) == 7


def test_a_profile_that_is_named_later_stays_only_when_its_command_succeeded(tmp_path):
    Workspace(tmp_path, overrides=["train.steps=7"]).remember_profile()
    Workspace(tmp_path, profile="full").remember_profile(succeeded=False)
    assert steps(tmp_path) == 7
    Workspace(tmp_path, profile="full").remember_profile(succeeded=True)
    assert steps(tmp_path) == Workspace(tmp_path, profile="full").profile.train.steps != 7


def test_adopted_settings_stay_when_the_command_succeeded(tmp_path):
    Workspace(tmp_path).remember_profile()
    workspace = Workspace(tmp_path)
    train = workspace.profile.train.model_copy(update={"steps": 3})
    workspace.adopt(workspace.profile.model_copy(update={"train": train}))
    workspace.remember_profile(succeeded=True)
    assert steps(tmp_path) == 3
