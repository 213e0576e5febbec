"""A clip that is asked for: inputs that exist, and an output that destroys nothing."""

from pathlib import Path

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.asked import BadRequest, check_output, check_request
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
    check_request(catalog, reference, "known", tmp_path / "out.mp4", force=False)


@pytest.mark.parametrize("option", ["--reference", "--first-frame"])
@pytest.mark.parametrize("wrong", ["mistyped.mp4", "/tmp"])
def test_an_input_that_is_none_is_said_with_its_option(catalog, reference, option, wrong):
    named = {"--reference": reference, "--first-frame": reference} | {option: wrong}
    with pytest.raises(BadRequest) as refused:
        check_request(catalog, *named.values(), None, force=False)
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
            check_request(catalog, name, reference, None, force=False)


def test_the_name_that_is_given_differs_where_the_clip_would():
    settings = GenerateSettings()
    asked = ["a/melt.mp4", "mug.png", "a mug", "model-1", settings]
    other = ["b/melt.mp4", "cup.png", "a cup", "model-2", settings.model_copy(update={"seed": 1})]
    names = {default_name(*asked)}
    for place in range(len(asked)):
        names.add(default_name(*asked[:place], other[place], *asked[place + 1 :]))
    assert len(names) == 1 + len(asked)
    assert default_name(*asked) in names
    assert all(name.startswith("melt--") and name.endswith(".mp4") for name in names)
