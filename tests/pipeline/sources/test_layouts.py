import json

import pytest

from pipeline.errors import PipelineError
from pipeline.sources.survey import survey
from tests.pipeline.sources.test_survey import labels, put


def test_sample_videos_bring_their_captions(tmp_path):
    put(tmp_path, "melt/a.mp4", "melt/new.mp4")
    row = {"file_path": "melt/a.mp4", "text": "a red ball", "type": "melt", "seed": 3, "generator": "g"}
    (tmp_path / "captions.jsonl").write_text(json.dumps(row) + "\n")
    found = survey(tmp_path)
    assert found.layout == "samples"
    assert [(s.caption, s.label, s.generator) for s in found.sources] == [("a red ball", "melt", "g")]
    assert found.unlisted == [str(tmp_path / "melt" / "new.mp4")]


@pytest.mark.parametrize(
    "keys", [("file_path", "text", "type"), ("video_path", "video_caption", "class")], ids=["fun", "released"]
)
def test_both_key_styles_of_videox_fun_are_read(tmp_path, keys):
    put(tmp_path, "videos/a.mp4")
    manifest = tmp_path / "train.json"
    manifest.write_text(json.dumps([dict(zip(keys, ("videos/a.mp4", "a cat", "Melt it"), strict=True))]))
    for place in (manifest, tmp_path):
        found = survey(place)
        assert found.layout == "videox-fun"
        assert [(s.caption, s.label) for s in found.sources] == [("a cat", "Melt it")]


def test_vap_data_lists_a_video_once_and_leaves_invalid_rows_out(tmp_path):
    put(tmp_path, "vfx_videos/a.mp4", "vfx_videos/b.mp4", "vfx_videos/c.mp4")
    (tmp_path / "vap_data.csv").write_text(
        "video_paths,kind,tar_video_caption,ref_video_paths,reference_alignment_score,split,_valid\n"
        'vfx_videos/a.mp4,melt,"a cat, melting","[""vfx_videos/b.mp4""]",80,train,True\n'
        'vfx_videos/a.mp4,melt,"a cat, melting","[""vfx_videos/c.mp4""]",60,train,True\n'
        'vfx_videos/b.mp4,melt,a dog,"[""vfx_videos/a.mp4""]",3,train,True\n'
        'vfx_videos/c.mp4,melt,a fox,"[]",0,train,False\n'
    )
    found = survey(tmp_path)
    assert found.layout == "vap-data"
    assert labels(found.sources) == {"a.mp4": "melt", "b.mp4": "melt"}
    assert found.sources[0].caption == "a cat, melting"
    # What it names as a pair is kept with its score; the video that it marks invalid is in none.
    pairs = {s.uri[-5:]: [(uri[-5:], score) for uri, score in s.references] for s in found.sources}
    assert pairs == {"a.mp4": [("b.mp4", 80)], "b.mp4": [("a.mp4", 3)]}


def test_omni_vfx_takes_the_folder_for_a_missing_label(tmp_path):
    put(tmp_path, "Spring-style/0_1.mp4", "Melt/1_2.mp4")
    rows = [
        {"file_path": "Spring-style/0_1.mp4", "text": "spring"},
        {"file_path": "Melt/1_2.mp4", "text": "m", "type": "Melt"},
    ]
    (tmp_path / "VFX_data.json").write_text(json.dumps(rows))
    found = survey(tmp_path)
    assert found.layout == "omni-vfx"
    assert labels(found.sources) == {"0_1.mp4": "Spring-style", "1_2.mp4": "Melt"}


def test_open_vfx_reads_a_list_per_effect_and_does_without_absent_masks(tmp_path):
    put(tmp_path, "videos/Dissolve_it-0.mp4", "videos/Cake-ify-4.mp4")
    dissolve = [
        {"path": "videos/Dissolve_it-0.mp4", "text": "a vase", "start": 0, "end": 40},
        {"path": "masks/Dissolve_it-0.mp4", "text": "mask"},
    ]
    (tmp_path / "dissolve.json").write_text(json.dumps(dissolve))
    (tmp_path / "cakeify.json").write_text(json.dumps([{"path": "videos/Cake-ify-4.mp4", "text": "a shoe"}]))
    found = survey(tmp_path)
    assert found.layout == "open-vfx"
    assert labels(found.sources) == {"Dissolve_it-0.mp4": "Dissolve_it", "Cake-ify-4.mp4": "Cake-ify"}
    assert {s.window for s in found.sources} == {"frames:0-40", None}


def test_vfxmaster_like_json_may_be_an_object_by_id(tmp_path):
    put(tmp_path, "melt/a.mp4")
    (tmp_path / "info.json").write_text(json.dumps({"clip0": {"video": "melt/a.mp4", "caption": "x"}}))
    found = survey(tmp_path)
    assert (found.layout, found.sources[0].label) == ("vfxmaster", "melt")


def test_finetrainers_pairs_videos_and_prompts_by_line(tmp_path):
    put(tmp_path, "videos/a.mp4", "videos/b.mp4")
    (tmp_path / "videos.txt").write_text("videos/a.mp4\nvideos/b.mp4\n")
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    found = survey(tmp_path)
    assert found.layout == "finetrainers"
    assert [s.caption for s in found.sources] == ["one", "two"]
    (tmp_path / "prompts.txt").write_text("one\n")
    with pytest.raises(PipelineError, match="line 2: 2 videos but 1 prompts"):
        survey(tmp_path)


def test_a_layout_can_be_named_and_an_unknown_one_lists_the_known(tmp_path):
    put(tmp_path, "melt/a.mp4")
    (tmp_path / "captions.jsonl").write_text(json.dumps({"file_path": "melt/a.mp4"}) + "\n")
    assert survey(tmp_path, layout="folder").sources[0].label == "melt"
    with pytest.raises(PipelineError, match=r"is no vap-data data set: it has no vap_data\.csv"):
        survey(tmp_path, layout="vap-data")
    with pytest.raises(PipelineError, match=r"No layout is called 'x'. Known layouts: folder, samples"):
        survey(tmp_path, layout="x")


def test_other_json_in_a_folder_is_no_manifest(tmp_path):
    put(tmp_path, "melt/a.mp4")
    (tmp_path / "settings.json").write_text('{"a": 1}')
    (tmp_path / "info.json").write_text("[1, 2")
    assert survey(tmp_path).layout == "folder"
