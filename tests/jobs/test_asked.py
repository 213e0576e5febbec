"""A clip that is asked for: inputs that exist, and an output that destroys nothing."""

from pathlib import Path

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.asked import BadRequest, Effect, check_output, check_request, check_seeds, effects_of, sheet_of
from jobs.generate import default_name
from training.settings import GenerateSettings


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    catalog = Catalog.create(str(tmp_path / "catalog"), ClipSpec(num_frames=9, fps=8, height=64, width=96))
    catalog.upsert("clips", [{"clip_id": "known"}])
    return catalog


@pytest.fixture
def reference(tmp_path) -> str:
    file = tmp_path / "reference.mp4"
    file.write_bytes(b"video")
    return str(file)


def test_files_and_clips_of_the_catalogue_may_be_named(catalog, reference, tmp_path):
    effects = effects_of(catalog, [reference, "known=0.5"][:1], [])
    check_request(catalog, effects, "known", tmp_path / "out.mp4")
    assert effects == [Effect(reference)]


@pytest.mark.parametrize("option", ["--reference", "--first-frame"])
@pytest.mark.parametrize("wrong", ["mistyped.mp4", "/tmp"])
def test_an_input_that_is_none_is_said_with_its_option(catalog, reference, option, wrong):
    named = {"--reference": reference, "--first-frame": reference} | {option: wrong}
    with pytest.raises(BadRequest) as refused:
        check_request(catalog, effects_of(catalog, [named["--reference"]], []), named["--first-frame"], None)
    assert str(refused.value).startswith(f"{option} ") and wrong in str(refused.value)


@pytest.mark.parametrize(("output", "says"), [("", "is a folder"), ("x.gif", "x.mp4"), ("x", "x.mp4")])
def test_an_output_that_is_no_mp4_file_is_refused(tmp_path, output, says):
    with pytest.raises(BadRequest, match=says):
        check_output(tmp_path / output, [], force=True)


def test_an_input_is_never_written_over_by_whatever_path_and_other_files_only_with_force(tmp_path, reference):
    same = tmp_path / "link.mp4"
    same.symlink_to(reference)
    for output in (Path(reference), same):
        with pytest.raises(BadRequest, match="one of the inputs"):
            check_output(output, [Path("first.png"), Path(reference)], force=True)
    with pytest.raises(BadRequest, match="--force"):
        check_output(Path(reference), [], force=False)
    check_output(Path(reference), [], force=True)


def test_a_lora_that_lies_beside_the_output_is_not_lost_either(tmp_path):
    (tmp_path / "out.lora.safetensors").write_bytes(b"precious")
    with pytest.raises(BadRequest, match=r"out\.lora\.safetensors is there already"):
        check_output(tmp_path / "out.mp4", [], force=False)
    check_output(tmp_path / "out.mp4", [], force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.lora.safetensors"]


@pytest.mark.parametrize("place", ["/proc/out.mp4", "file/out.mp4"])
def test_a_place_that_cannot_be_written_is_said_before_anything_loads(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="cannot be written"):
        check_output(tmp_path / place, [], force=False)


def test_a_name_that_no_file_can_have_is_one_sentence(catalog, reference):
    for name in ("x" * 300, "with\0nul"):
        with pytest.raises(BadRequest, match="neither a file nor a clip_id"):
            effects_of(catalog, [name], [])
        with pytest.raises(BadRequest, match="is no file"):
            effects_of(catalog, [], [name])


def test_the_name_that_is_given_differs_where_the_clip_would():
    settings = GenerateSettings()
    asked = [[Effect("a/melt.mp4")], "mug.png", "a mug", "model-1", settings]
    heavier = [Effect("a/melt.mp4", weight=0.5)]
    other = [heavier, "cup.png", "a cup", "model-2", settings.model_copy(update={"seed": 1})]
    names = {default_name(*asked)}
    for place in range(len(asked)):
        names.add(default_name(*asked[:place], other[place], *asked[place + 1 :]))
    assert len(names) == 1 + len(asked)
    assert default_name(*asked) in names
    assert all(name.startswith("melt--") and name.endswith(".mp4") for name in names)


def test_effects_have_weights_all_or_none(catalog, reference):
    both = effects_of(catalog, [f"{reference}=0.7", "known=-0.3"], [])
    assert both == [Effect(reference, weight=0.7), Effect("known", weight=-0.3)]
    assert [each.weight for each in effects_of(catalog, [reference, "known"], [])] == [0.5, 0.5]
    with pytest.raises(BadRequest, match="has no weight, and others have one"):
        effects_of(catalog, [f"{reference}=0.7", "known"], [])
    with pytest.raises(BadRequest, match="Say which effect"):
        effects_of(catalog, [], [])


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("5,1,4-5", [5, 1, 4]), (" 1 - 2 ", [1, 2])]
)
def test_seeds_are_ranges_and_lists(text, seeds):
    assert check_seeds(None, text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "0-64", "0-40,50-80", "1.5", "9" * 30, "²"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(BadRequest, match="--seeds"):
        check_seeds(None, text)


def test_a_seed_and_seeds_are_not_both_taken():
    assert check_seeds(3, None) == []
    with pytest.raises(BadRequest, match="both given"):
        check_seeds(3, "1-2")


def test_the_clips_and_the_sheet_of_seeds_are_outputs_too(catalog, reference, tmp_path):
    output = tmp_path / "out.mp4"
    for there in (tmp_path / "out-seed-2.mp4", sheet_of(output)):
        there.write_bytes(b"precious")
        with pytest.raises(BadRequest, match="--force"):
            check_request(catalog, [Effect(reference)], "known", output, [1, 2])
        there.unlink()
    check_request(catalog, [Effect(reference)], "known", output, [1, 2])
    with pytest.raises(BadRequest, match="one of the inputs"):
        sheet_of(output).write_bytes(b"picture")
        check_request(catalog, [Effect(reference)], str(sheet_of(output)), output, [1, 2], force=True)
