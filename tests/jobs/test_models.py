"""`video2lora models` and `trace` as a person types them."""

import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from catalog.models import keep_model
from catalog.store import Catalog
from jobs.cli import main
from jobs.profile import load_profile
from pipeline.video.transcode import encode_video
from training.release import shipped_model


@pytest.fixture
def work(tmp_path):
    """A working directory with two models; the second began with the first and saw a clip more."""
    catalog = Catalog.create(tmp_path / "catalog", load_profile("tiny").clip)
    told = {"status": "accepted", "category_id": "melt", "split": "train"}
    for number, name in enumerate(("video2lora-aaaa", "video2lora-bbbb")):
        catalog.upsert("clips", [{"clip_id": f"c{number}aaaaa", "licence": f"licence-{number}", **told}])
        shutil.copytree(shipped_model().path, tmp_path / "models" / name)
        row = {
            "model_id": name,
            "run_id": f"train-{number}",
            "path": keep_model(catalog, tmp_path / "models" / name),
            "snapshot": catalog.snapshot().to_json(),
            "config": {"train": {"steps": 10 * (number + 1)}},
            "metrics": {"steps": 10 * (number + 1), "loss_end": 0.5 - number / 10},
            "created_at": datetime(2026, 11, number + 1, tzinfo=UTC),
        }
        catalog.upsert("models", [row])
    return tmp_path


def typed(capsys, *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def test_models_are_promoted_listed_and_rolled_back_and_the_first_has_none_before_it(work, capsys):
    assert "none is the champion: the newest is used" in typed(capsys, "models", "list", "-w", work)[1]
    for name in ("video2lora-a", "video2lora-b"):
        assert typed(capsys, "models", "promote", name, "-w", work, "--reason", "looked at it")[0] == 0
    assert "video2lora-bbbb is the champion" in typed(capsys, "models", "list", "-w", work)[1]
    assert "promote by" in typed(capsys, "models", "show", "video2lora-b", "-w", work)[1]
    assert typed(capsys, "models", "rollback", "-w", work)[0] == 0
    status, _, err = typed(capsys, "models", "rollback", "-w", work)
    assert (status, "video2lora-aaaa is the first champion" in err) == (2, True)
    rows = json.loads(typed(capsys, "models", "list", "-w", work, "--json")[1])
    assert {row["model_id"]: row["champion"] for row in rows} == {
        "video2lora-aaaa": True,
        "video2lora-bbbb": False,
    }


def test_a_model_that_is_none_or_whose_weights_are_gone_is_a_sentence(work, capsys):
    status, _, err = typed(capsys, "models", "promote", "video2lora-zzzz", "-w", work)
    assert (status, "No model is called 'video2lora-zzzz'" in err) == (2, True)
    shutil.rmtree(work / "models" / "video2lora-bbbb")
    status, _, err = typed(capsys, "models", "promote", "video2lora-bbbb", "-w", work)
    assert (status, "video2lora-bbbb cannot be the champion: The files of model" in err) == (2, True)


def test_two_models_are_compared_by_settings_figures_and_clips(work, capsys):
    found = typed(capsys, "models", "compare", "video2lora-a", "video2lora-b", "-w", work, "--json")[1]
    compared = json.loads(found)
    assert compared["settings"] == {"train.steps": [10, 20]}
    assert compared["figures"]["loss_end"] == [0.5, 0.4]
    assert compared["data"]["came"] == ["c1aaaaa"]


def test_a_withdrawn_licence_marks_a_model_in_lists_and_traces(work, capsys):
    facts = {"model_id": "video2lora-bbbb", "reference": "c1aaaaa", "prompt": "\x1b[31m[bold]red"}
    video = work / "a.mp4"
    video.write_bytes(encode_video(np.zeros((3, 16, 16, 3), np.uint8), 8, comment=json.dumps(facts)))
    status, text, _ = typed(capsys, "trace", video, "-w", work)
    assert status == 0
    assert "licence-0 (1), licence-1 (1)" in text
    assert "\x1b" not in text
    assert "[bold]red" in text
    assert typed(capsys, "clip", "withdraw", "--where", "licence = 'licence-1'", "-w", work)[0] == 0
    assert (
        "trained on 1 clip whose licence was withdrawn since"
        in typed(capsys, "models", "list", "-w", work)[1]
    )
    traced = json.loads(typed(capsys, "trace", video, "-w", work, "--json")[1])
    assert traced["mark"]["clips"] == ["c1aaaaa"]
    assert traced["reference"]["status"] == "rejected"
    status, _, err = typed(capsys, "trace", work / "nothing.mp4", "-w", work)
    assert (status, "cannot be read: No such file" in err) == (2, True)
