"""What an edit is asked for: every way to say what may change, and what is refused in one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from catalog.errors import CatalogError
from pipeline.editing.ask import EditRequest, read_edit
from pipeline.editing.folder import EditFolder, write_edit_folder
from pipeline.errors import PipelineError
from tests.pipeline.editing.small import BOX, SPEC, frames
from training.errors import TrainingError


@pytest.fixture
def request_(files) -> EditRequest:
    return EditRequest(files["v.mp4"], "a blue square", files["edited.png"])


def test_a_box_a_picture_a_video_and_a_turned_picture_name_the_same_pixels(catalog, files, request_):
    named = read_edit(catalog, replace(request_, mask=BOX))
    assert named.changed.shape == (9, 32, 48) and named.kept[0].all()
    # 34 × 18 grown by a tenth in whole pixels: 3 wider, one before; 1 taller.
    assert named.changed[3, 6:25, 5:42].all() and named.changed[3].sum() == 19 * 37
    for mask in ("m.png", "m.mp4"):
        same = read_edit(catalog, replace(request_, mask=files[mask]))
        assert (same.changed == named.changed).mean() > 0.97, mask
    turned = read_edit(catalog, replace(request_, mask=files["turned.png"], inverted=True))
    assert np.array_equal(turned.changed, named.changed)


def test_the_difference_is_what_is_taken_where_nothing_is_said_and_everything_is_the_models_own(
    catalog, request_
):
    difference = read_edit(catalog, request_)
    assert difference.changed[:, 8:20, 8:20].all() and not difference.changed[:, :, 28:].any()
    everything = read_edit(catalog, replace(request_, mask="everything"))
    assert everything.kept[0].all() and not everything.kept[1:].any()


def test_a_box_is_in_the_pixels_of_the_video_whatever_the_clips_are(catalog, tmp_path, files, request_):
    """Of a video of twice the size and with more to the sides a box is where it was."""
    from pipeline.video.transcode import encode_video

    wide = np.pad(frames().repeat(2, axis=1).repeat(2, axis=2), ((0, 0), (0, 0), (32, 32), (0, 0)))
    (tmp_path / "wide.mp4").write_bytes(encode_video(wide, 8))
    shown = EditRequest(str(tmp_path / "wide.mp4"), "", None, mask="box:44,12,68,36")
    found = read_edit(catalog, shown)
    assert np.array_equal(found.changed, read_edit(catalog, replace(request_, mask=BOX)).changed)


def test_a_clip_of_the_catalogue_is_edited_by_its_id_and_brings_its_caption(tmp_path, files):
    from tests.pipeline.made import make_catalog

    catalog = make_catalog(tmp_path, {"a": ("melt", "melt")})
    found = read_edit(catalog, EditRequest("a", "something else", None, mask="box:10,10,30,20"))
    assert found.clip_id == "a" and found.caption == "a scene called a"
    assert read_edit(catalog, replace(found.request, caption="mine")).caption == "mine"


REFUSED = {
    "of another length": ({"mask": "short.mp4"}, "has 5 frames and the video 9"),
    "of another shape": ({"mask": "square.png"}, "32×32 and the video 48×32"),
    "of the other polarity": ({"mask": "turned.png"}, "--invert-mask"),
    "empty": ({"mask": "empty.png"}, "empty"),
    "full": ({"mask": "full.png"}, "--mask everything"),
    "a mask that is no file": ({"mask": "nowhere.png"}, "box:left,top,width,height, difference"),
    "a box that is none": ({"mask": "box:1,2,3"}, "as in box:40,30,200,120"),
    "a box without area": ({"mask": "box:1,2,0,3"}, "as in box:40,30,200,120"),
    "a box outside": ({"mask": "box:100,2,10,10"}, "lies outside"),
    "an edited frame of another shape": ({"first_frame": "square.png"}, "another shape"),
    "an edited frame that is none": ({"first_frame": "text.mp4"}, "cannot be used"),
    "no difference": ({"first_frame": "v.mp4"}, "does not differ"),
    "nothing to compare": ({"first_frame": None}, "--first-frame"),
    "also of frame 0": ({"also": {0: "frame4.png"}}, "1 to 8"),
    "also of a frame beyond": ({"also": {9: "frame4.png"}}, "1 to 8"),
    "also of another shape": ({"also": {4: "square.png"}}, "The edited frame 4"),
    "a video that ingestion rejects": ({"video": "text.mp4"}, "cannot be used"),
    "a video that is none": ({"video": "nowhere.mp4"}, "neither a video file nor a clip_id"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_sentence(catalog, files, request_, case):
    changes, says = REFUSED[case]

    def named(value):
        if isinstance(value, dict):
            return {number: files[name] for number, name in value.items()}
        return files.get(value, value)

    with pytest.raises((PipelineError, TrainingError, CatalogError)) as refused:
        read_edit(catalog, replace(request_, **{name: named(value) for name, value in changes.items()}))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_released_tools_folder_is_written_and_read_by_pictures_and_by_its_training_video(
    catalog, files, request_, tmp_path
):
    asked = read_edit(catalog, replace(request_, mask=BOX, also={4: files["frame4.png"]}, caption="a square"))
    folder = tmp_path / "edit"
    written = write_edit_folder(folder, asked, "p3rs0n,")
    assert {"source_frames", "source_masks", "traindata", "prefix.txt", "edited_image.png"} <= set(written)
    assert {"additional_edited_frames", "inference_rgb.mp4", "inference_mask.mp4"} <= set(written)
    assert (folder / "prefix.txt").read_text() == "p3rs0n,"
    assert (folder / "traindata" / "sequence_all_frames_9.txt").read_text() == "p3rs0n, a square"
    again = read_edit(catalog, EditRequest(str(folder), "a blue square"))
    assert np.array_equal(again.frames, asked.frames) and np.array_equal(again.edited, asked.edited)
    assert np.array_equal(again.changed, asked.changed) and again.caption == "a square"
    assert np.array_equal(again.also[4], asked.also[4])
    for name in ("source_frames", "source_masks"):
        (folder / name).rename(tmp_path / name)
    found = EditFolder.read(folder, SPEC)
    assert np.abs(found.video.frames.astype(int) - asked.frames).mean() < 4
    assert (found.changed == asked.changed).mean() > 0.97 and found.token == "p3rs0n,"
    with pytest.raises(PipelineError, match="holds something already"):
        write_edit_folder(folder, asked, "")


def test_a_folder_whose_masks_or_training_video_do_not_fit_is_one_sentence(
    catalog, files, request_, tmp_path
):
    asked = read_edit(catalog, replace(request_, mask=BOX))
    folder = tmp_path / "edit"
    write_edit_folder(folder, asked, "p3rs0n,")
    (folder / "source_masks" / "00003.png").unlink()
    with pytest.raises(PipelineError, match="00003 first"):
        EditFolder.read(folder, SPEC)
    (folder / "source_frames").rename(tmp_path / "away")
    (folder / "traindata" / "sequence_all_frames_9.mp4").rename(
        folder / "traindata" / "sequence_all_frames_13.mp4"
    )
    with pytest.raises(PipelineError, match=r"has 28 frames, .* = 40"):
        EditFolder.read(folder, SPEC)
