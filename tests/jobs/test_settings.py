"""What help says about settings, columns and scores is what there is."""

import pytest
import typer

from catalog.schema import SCHEMAS
from jobs.cli import app, main
from jobs.commands.review import SCORES
from jobs.commands.search import CLIP_COLUMNS
from jobs.options import open_workspace
from jobs.profile import load_profile, shipped
from jobs.settings import list_settings
from pipeline.video import quality


@pytest.mark.parametrize("name", shipped())
def test_every_listed_setting_can_be_pasted_behind_set_and_changes_nothing(name):
    profile = load_profile(name)
    for each in list_settings(profile):
        assert load_profile(name, [f"{each.key}={each.value}"]) == profile, each
    assert {each.key.partition(".")[0] for each in list_settings(profile)} == set(type(profile).model_fields)


def test_a_section_is_listed_with_what_overrides_it_and_what_it_is_for(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["settings", "train", "-w", str(tmp_path), "--set", "train.steps=7"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert all(line.startswith("train.") for line in lines)
    assert any(line.startswith("train.steps=7 ") and "optimizer steps" in line for line in lines)


def test_a_setting_that_is_none_names_the_nearest(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["settings", "trian", "-w", str(tmp_path)])
    assert ended.value.code == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_the_columns_and_scores_that_help_names_are_those_there_are():
    assert set(CLIP_COLUMNS) <= {"category", *SCHEMAS["clips"].names}
    assert SCORES == quality.SCORES


@pytest.mark.parametrize(("typed", "workers"), [("3", 3), ("2-8", (2, 8))])
def test_workers_are_a_number_or_a_range(tmp_path, typed, workers):
    command = typer.main.get_command(app).commands["train"]
    given = command.make_context("train", ["--workers", typed]).params["workers"]
    workspace = open_workspace(tmp_path, None, None, None, {"train.workers": given})
    assert workspace.profile.train.workers == workers


@pytest.mark.parametrize("typed", ["0", "-1", "2-", "-8", "0-2", "a", "1.5", "²"])
def test_other_workers_are_one_sentence(typed, capsys):
    with pytest.raises(SystemExit):
        main(["train", f"--workers={typed}"])
    assert f"{typed!r} is neither a number of workers nor a range" in capsys.readouterr().err
