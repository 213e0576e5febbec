"""The ablation grid: every row is a network that can be built, and the plot shows every row."""

import pytest
from PIL import Image

from pipeline.pocket.hypernetwork import POCKET_METHOD
from tests.benchmarks.ablations import GRID, GROUPS, draw
from training.evaluation.transfer_gap import TransferGap
from training.methods.registry import parse_settings


@pytest.mark.parametrize("name", GRID)
def test_a_row_changes_settings_that_exist_to_other_values_that_are_valid(name):
    changed = parse_settings(POCKET_METHOD.model_dump() | GRID[name])
    assert (changed == POCKET_METHOD) == (name == "ours")


def test_the_plot_grows_with_the_rows(tmp_path):
    row = {group: TransferGap(0.2, 0.1, 0.3, 0.8, 1.0, 1.0, 10) for group in GROUPS}
    draw({"ours": row, "s = 1": row}, tmp_path / "two.png")
    draw(dict.fromkeys(GRID, row), tmp_path / "all.png")
    two, every = (Image.open(tmp_path / name) for name in ("two.png", "all.png"))
    assert two.width == every.width and every.height > 2 * two.height
