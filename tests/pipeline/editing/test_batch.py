"""Many edits from a list: each a Ray task, each with a fate of its own."""

from pathlib import Path

import pytest

from jobs.cli import main
from pipeline.editing.batch import Board, read_batch, was_made, work_off
from pipeline.errors import BadManifest
from tests.pipeline.editing.small import BOX, settings_of, words_of


def listed(folder: Path, *lines: str) -> Path:
    path = folder / "edits.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_names_edits_as_the_command_does_and_files_beside_it(files, tmp_path):
    here = Path(files["v.mp4"]).parent
    path = listed(
        here,
        "video,first_frame,prompt,mask,also,output",
        f'v.mp4,edited.png,a blue square,"{BOX}",4=frame4.png;7=frame4.png,one.mp4',
        "v.mp4,edited.png,a green square,m.png,,",
    )
    (first, one), (second, other) = read_batch(path, tmp_path, lambda request: f"{request.prompt}.mp4")
    assert first.video == files["v.mp4"] and first.mask == BOX and one == Path("one.mp4")
    assert first.also == {4: files["frame4.png"], 7: files["frame4.png"]}
    assert second.mask == files["m.png"] and other == tmp_path / "a green square.mp4"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["video,promt", "v.mp4,x"], "column 'promt'"),
        (["video,mask", "v.mp4,x"], "no edit with a 'prompt'"),
        (["video,prompt", ",x"], "line 2: video is empty"),
        (["video,prompt,also", "v.mp4,x,4:a.png"], "line 2: also '4:a.png'"),
        (["video,prompt,output", "v.mp4,x,a.mp4", "v.mp4,y,a.mp4"], "line 3: a.mp4"),
        ([""], "no edit"),
    ],
)
def test_a_list_that_cannot_be_used_names_its_line(tmp_path, lines, says):
    with pytest.raises(BadManifest, match=says):
        read_batch(listed(tmp_path, *lines), tmp_path, lambda request: f"{request.prompt}.mp4")


@pytest.mark.slow
def test_one_bad_edit_stops_no_other_and_one_that_was_stopped_is_made_by_the_command(
    ray_cluster, wan, files, catalog, tmp_path, capsys
):
    path = listed(
        tmp_path,
        "video,first_frame,prompt,mask,output",
        f'{files["v.mp4"]},{files["edited.png"]},a blue square,"{BOX}",{tmp_path}/one.mp4',
        f"{files['v.mp4']},{files['edited.png']},a blue square,{files['empty.png']},{tmp_path}/two.mp4",
        f'{files["v.mp4"]},{files["edited.png"]},a green square,"{BOX}",{tmp_path}/three.mp4',
    )
    settings = settings_of(wan)
    requests = read_batch(path, tmp_path, str)
    board = Board.remote(3)
    ray_cluster.get(board.stop.remote(2))
    told = []
    rows = work_off(catalog, tmp_path, settings, requests, lambda *row: told.append(row), board=board)
    assert [row["state"] for row in rows] == ["made", "failed", "stopped"]
    assert "empty" in rows[1]["error"] and told[-1][2] == {"edits": 3}
    assert was_made(tmp_path / "one.mp4", settings.asked(requests[0][0]))
    assert not was_made(tmp_path / "one.mp4", settings.asked(requests[2][0]))
    with pytest.raises(SystemExit) as ended:
        main(["edit", "--batch", str(path), *words_of(tmp_path, wan)])
    said = capsys.readouterr()
    assert ended.value.code == 2 and "1 of 3 edits could not be made" in said.err
    assert "one.mp4: there already" in said.out and "three.mp4: made" in said.out
    assert "two.mp4: failed, The mask is empty" in said.out
    # Both are of one video: one LoRA.
    assert catalog.count("models") == 1 and not any((tmp_path / "edits").iterdir())
