"""A profile is a set of values, validated before anything runs."""

import pytest

from jobs.errors import BadProfile
from jobs.profile import load_profile, shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_profile_is_valid(name):
    profile = load_profile(name)
    assert load_profile_from_json(profile) == profile


def load_profile_from_json(profile):
    return type(profile).model_validate_json(profile.model_dump_json())


def test_full_selects_the_papers_backbone_by_value_alone():
    full = load_profile("full")
    assert full.backbone.model == "zai-org/CogVideoX-5b-I2V"
    assert (full.backbone.num_frames, full.backbone.height, full.backbone.width) == (49, 480, 720)
    assert (full.method.down_size, full.method.up_size, full.method.refinements) == (100, 50, 4)


def test_an_unknown_key_names_the_nearest_one(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nstepz = 5\n")
    with pytest.raises(BadProfile, match=r"Unknown key 'train.stepz'.*did you mean 'steps'"):
        load_profile(str(file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[clip]\nframes = 49\n", "clip.frames"),
        ("[train]\nsteps = -1\n", "train.steps"),
        ("[trian]\nsteps = 1\n", "did you mean 'train'"),
        ("steps = = 1", "cannot be read"),
    ],
)
def test_a_profile_that_cannot_be_used_is_one_sentence(tmp_path, text, says):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BadProfile, match=says):
        load_profile(str(file))


def test_a_profile_that_does_not_exist_names_the_shipped_ones():
    with pytest.raises(BadProfile, match="full, tiny"):
        load_profile("fool")


def test_overrides_change_single_values():
    profile = load_profile(
        "tiny",
        [
            "train.steps=70",
            "backbone.model=/weights/cog",
            "method.positions=false",
            "train.start_from=null",
        ],
    )
    assert profile.train.steps == 70
    assert profile.backbone.model == "/weights/cog"
    assert profile.method.positions is False
    assert profile.train.start_from is None


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.steps=abc", "--set train.steps=abc is not a whole number."),
        ("train.workers=0", "--set train.workers=0 is too small; the smallest is 1."),
        ("train.precision=fp16", "--set train.precision=fp16 is not one of 'fp32' or 'bf16'."),
        ("generate.steps=1001", "--set generate.steps=1001 is too large; the largest is 1000."),
        (
            f"generate.seed={2**63}",
            f"--set generate.seed={2**63} is too large; it has to be less than {2**63}.",
        ),
        ("train.stepz=1", "Unknown key 'train.stepz' in --set train.stepz=1; did you mean 'steps'?"),
    ],
)
def test_a_wrong_override_is_named_as_it_was_typed(override, says):
    with pytest.raises(BadProfile) as refused:
        load_profile("tiny", [override])
    assert str(refused.value) == says


@pytest.mark.parametrize("override", ["train.steps", "=3", "train..x=1", "train.steps.x=1"])
def test_an_override_that_makes_no_sense_is_refused(override):
    with pytest.raises(BadProfile):
        load_profile("tiny", [override])


def test_a_folder_is_kept_by_its_absolute_path_and_a_name_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "pocket").mkdir()
    profile = load_profile("tiny", ["backbone.model=mine", "train.start_from=./mine"])
    assert profile.backbone.model == profile.train.start_from == str(tmp_path / "mine")
    assert load_profile("tiny").backbone.model == "pocket"
    assert load_profile("full").backbone.model == "zai-org/CogVideoX-5b-I2V"
