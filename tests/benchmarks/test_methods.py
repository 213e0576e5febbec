"""The comparison of methods: that it runs, and that its table and its claims say what its JSON line says."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import ImageFont

from pipeline.pocket.hypernetwork import Lessons, pocket_settings
from tests.benchmarks.learning import Verdict
from tests.benchmarks.methods import main, options
from tests.benchmarks.methods_asked import POLISHED, SHIPPED, as_shipped
from tests.benchmarks.methods_claims import FROZEN, LORA_EDIT, NONE, of_edits, of_effects
from tests.benchmarks.methods_cost import bytes_of, peak_bytes
from tests.benchmarks.methods_edits import cases, psnr, reach
from tests.benchmarks.methods_half import Asked, asked_of
from tests.benchmarks.methods_kept import Kept
from tests.benchmarks.methods_page import GAP, Cell, Strip, sheet, wrapped, write_page
from tests.benchmarks.methods_table import COLUMNS, Line, markdown
from tests.benchmarks.methods_taught import CATEGORY, OURS, PROMPT, School
from tests.pipeline.pocket.clips import random_pairs
from training.backbones.registry import load_backbone
from training.backbones.weights import POCKET_WAN
from training.batch import References
from training.release import shipped_model

SCALES = {"stored": 1e-3, "learned": 1e-6, "held": 1e-6, "background": 1, "edited": 1, "input": 1}
LEFT_OUT = "left out, it was taught 1 of the categories that are unseen here"
SHARES = ("gap_seen", "gap_unseen", "found_seen", "found_unseen", "reach")


def cells(table: str) -> dict[str, dict[str, str]]:
    """Of a Markdown table, by way and column."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    headings = {title: name for name, (title, _) in COLUMNS.items()}
    names = [headings[cell] for cell in rows[0][1:]]
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows[2:]}


def agree(table: str, methods: dict[str, dict]) -> None:
    """Every figure of the one is in the other."""
    found = cells(table)
    assert list(found) == list(methods)
    for way, values in methods.items():
        for name, value in values.items():
            cell = found[way].get(name, "")
            if value is None or name == "steps":
                assert cell == (value or ""), (way, name)
                continue
            first = value[0] if isinstance(value, list) else value
            scale = 100 if name in SHARES else SCALES.get(name, 1)
            printed = cell.split()[0]
            digits = len(printed.partition(".")[2])
            assert float(printed) == pytest.approx(scale * first, abs=0.51 * 10**-digits), (way, name)


@pytest.mark.slow
def test_it_runs_and_its_table_says_what_its_json_line_says(tmp_path, capsys):
    main(["--quick", "--jobs", "2", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out.splitlines()
    told = json.loads(printed[-1])
    agree("\n".join(line for line in printed if line.startswith("|")), told["methods"])
    for name in (OURS, POLISHED, CATEGORY):
        for each in (told["methods"][f"{title}: {name}"] for title in ("CogVideoX", "Wan")):
            assert all(each[key] is not None for key in ("gap_seen", "found_unseen", "stored", "reach"))
            assert each["held"] > each["learned"] > 0
    fitted = told["methods"][f"Wan: {LORA_EDIT}"]
    assert fitted["stored"] > told["methods"][f"Wan: {OURS}"]["stored"] and fitted["gap_seen"] is None
    taking = [name.split(": ")[0] for name in told["methods"] if name.split(": ")[1] in (PROMPT, LORA_EDIT)]
    assert taking == ["CogVideoX", "Wan"], "each of them takes one backbone alone"
    assert len(told["claims"]) == 8
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(claim["here"] in page for claim in told["claims"])
    videos = list((tmp_path / "out" / "clips").iterdir())
    assert len(videos) == page.count("<video") > 20 and (tmp_path / "out" / "sheet.png").is_file()
    # Begun again it makes nothing again: every second is the one that was measured.
    again = main(["--quick", "--jobs", "1", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")])
    assert json.loads(json.dumps(again["methods"])) == told["methods"] and again["edits"] == told["edits"]


def test_what_is_kept_is_made_once_for_each_thing_that_decides_it(tmp_path):
    made = []

    def make() -> dict:
        made.append(1)
        return {"clip": np.full((2, 3), len(made), dtype=np.uint8), "seconds": 0.5}

    kept = Kept(tmp_path / "made", ("a backbone",))
    first = kept.arrays(make, "a method", [(1, 2, 3)])
    again = Kept(tmp_path / "made", ("a backbone",)).arrays(make, "a method", [(1, 2, 3)])
    assert len(made) == 1 and (again["clip"] == first["clip"]).all() and float(again["seconds"]) == 0.5
    kept.arrays(make, "a method", [(1, 2, 4)])
    Kept(tmp_path / "made", ("another",)).arrays(make, "a method", [(1, 2, 3)])
    assert len(made) == 3
    assert kept.facts(lambda: {"steps": 7}, "costs") == kept.facts(lambda: {"steps": 8}, "costs")


def test_backbones_are_asked_about_what_all_of_them_know(tmp_path):
    shutil.copytree(POCKET_WAN, tmp_path, dirs_exist_ok=True)
    facts = json.loads((POCKET_WAN / "pocket.json").read_text())
    names = facts["categories"]

    def asked(*known: str) -> Asked:
        (tmp_path / "pocket.json").write_text(json.dumps(facts | {"categories": known}))
        return asked_of(options().parse_args(["--wan", str(tmp_path)]), Lessons())

    some = asked("of_its_own", *reversed(names[:5]))
    assert some.known == tuple(names[:5]), "in the order of the first backbone"
    assert some.groups == {"seen": (*names[:2], *names[3:5]), "unseen": (names[2],)}
    for few in ((), names[:2], names[2:3]):
        with pytest.raises(SystemExit, match=r"too few of the same categories.* --backbones"):
            asked(*few)


def test_the_shipped_model_is_left_out_where_it_was_taught_what_is_unseen(tmp_path):
    taught, other = shipped_model().categories[:2], "mirror_on_the_right"
    backbone = load_backbone(pocket_settings())
    for names, unseen, asked in (((taught[0], other), other, 1), (taught, taught[1], 0)):
        held = replace(random_pairs(tmp_path, 2, tuple(names)), unseen=frozenset({unseen}))
        said = []
        found = as_shipped(School(backbone, held, Lessons(), None, tmp_path), held, said.append)
        assert len(found) == asked
        assert said == ([] if asked else [f"{SHIPPED}: {LEFT_OUT}"])


def test_a_label_stays_over_its_own_clip():
    clip = np.full((2, 8, 90, 3), 255, dtype=np.uint8)
    long = Cell("a method whose name is long enough for three", clip, "taken for another effect", wrong=True)
    picture = np.asarray(sheet([Strip("a title", [long, Cell("b", clip)]), Strip("short", [long])]))
    assert picture.shape[1] == 2 * (2 * 90 + GAP)
    beyond = picture[:, 2 * 90 + GAP + 20 :].min(axis=(1, 2)) < 250
    assert not beyond.any(), "beside the second clip's one letter nothing is written"
    lines = wrapped(long.told, 150, ImageFont.load_default(11))
    assert " ".join(lines) == long.told and len(lines) > 1
    assert all(ImageFont.load_default(11).getlength(line) <= 150 for line in lines)


def test_a_page_has_its_own_clips_and_leaves_alone_what_is_not_its_own(tmp_path):
    clip = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    strips = [Strip("a title", [Cell("a", clip), Cell("b", clip)])]
    write_page(tmp_path, {"Wan": strips}, "| a |\n| - |", [], [])
    (tmp_path / "clips" / "mine.mp4").touch()
    write_page(tmp_path, {"CogVideoX": [Strip("a title", [Cell("a", clip)])]}, "| a |\n| - |", [], [])
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"0-0-0.mp4", "mine.mp4"}


def test_the_table_leaves_out_what_nobody_has():
    lines = {"a": Line(found_seen=(0.5, 0.25, 0.75)), "b": Line(stored=3456, found_seen=(0.1, None, None))}
    table = markdown(lines)
    assert cells(table)["a"] == {"found_seen": "50.0 % (25.0 to 75.0)", "stored": ""}
    assert cells(table)["b"] == {"found_seen": "10.0 %", "stored": "3.5"}
    agree(table, json.loads(json.dumps({name: line.to_dict() for name, line in lines.items()})))


def test_a_claim_is_answered_by_the_difference_alone():
    def verdicts(right: int) -> list[Verdict]:
        return [Verdict(f"effect {n}", f"effect {n}" if n < right else "other", None) for n in range(12)]

    found = {(PROMPT, "seen"): verdicts(2), (CATEGORY, "seen"): verdicts(11)}
    found |= {(PROMPT, "unseen"): verdicts(6), (NONE, "unseen"): verdicts(0)}
    found |= {(OURS, "unseen"): verdicts(0), (POLISHED, "unseen"): verdicts(1)}
    assert [claim.answer for claim in of_effects(found, POLISHED, "Wan")] == [
        "contradicts",
        "agrees",
        "cannot be told apart",
        "cannot be told apart",
    ]
    measures = {
        LORA_EDIT: [{"background": 30.0 + n, "reach": 0.5} for n in range(8)],
        FROZEN: [{"background": 20.0, "reach": 0.6 + n / 100} for n in range(8)],
    }
    known = {key: value for key, value in found.items() if key[0] != PROMPT}
    assert len(of_effects(known, POLISHED, "Wan")) == 2, "nothing is said of a method that was not asked"
    background, carried = of_edits(measures, [f"effect {n}" for n in range(8)])
    assert background.answer == "agrees" and carried.answer == "contradicts"
    assert "+13.5 dB" in background.sentence() and "contradicts it" in carried.sentence()


def test_an_edit_changes_the_subject_alone_and_its_reach_is_the_share_that_is_shown():
    (case,) = cases(1, 3, (9, 64, 96))
    assert not np.array_equal(case.edited, case.frames[0]) and case.caption != case.prompt
    outside = ~case.changed[0]
    assert np.abs(case.edited.astype(int) - case.frames[0])[outside].max() <= 24 and outside.any()
    assert reach(case, case.frames) == pytest.approx(0)
    assert psnr(case.frames, case.frames, ~case.changed) == float("inf")
    still = replace(
        case,
        frames=np.repeat(case.frames[:1], 9, axis=0),
        changed=np.repeat(case.changed[:1], 9, axis=0),
    )
    whole = np.repeat(case.edited[None], 9, axis=0)
    half = ((still.frames.astype(int) + whole) / 2).astype(np.uint8)
    assert reach(still, whole) == pytest.approx(1)
    assert reach(still, half) == pytest.approx(0.5, abs=0.01)
    darker = still.frames.astype(int) - 20 * ~still.changed[..., None]
    assert psnr(still.frames, darker.clip(0, 255).astype(np.uint8), ~still.changed) < 30


def test_costs_count_what_is_there_at_once_and_what_is_stored():
    def work() -> None:
        kept = torch.ones(1000)
        for _ in range(4):
            kept = kept + 1

    assert peak_bytes(work, torch.device("cpu")) == 2 * 4 * 1000
    references = References(("a",), torch.zeros(1, 2, 3), None, torch.zeros(1, 1, 4), torch.zeros(1, 1, 5))
    assert bytes_of(references) == 2 * (6 + 4 + 5)
    assert bytes_of({"a": (torch.zeros(2), torch.zeros(3))}) == 10 and bytes_of(torch.zeros(7)) == 14
