"""What the classifiers are shown: the same from one process as from two, without the product's libraries."""

import subprocess
import sys

import numpy as np

from tests.benchmarks.effect_clips import FRAMES, HEIGHT, WIDTH, render, render_all
from tests.benchmarks.effects import clips_of, grainy


def test_two_processes_render_what_one_renders():
    names, seeds = ("spin", "tint_cyan"), ((3, 4), (5, 6))
    clips = render_all(names, seeds, workers=2)
    assert clips.shape == (4, 3, FRAMES, HEIGHT, WIDTH) and clips.dtype == np.uint8
    assert np.array_equal(clips, render_all(names, seeds, workers=1))
    assert np.array_equal(clips[2], render("tint_cyan", 5))


def test_grain_spares_the_first_frame_and_is_a_seeds_own(tmp_path):
    clip = np.full((25, 64, 96, 3), 128, dtype=np.uint8)
    made = grainy(clip, 3)
    assert np.array_equal(made[0], clip[0]) and made.shape == clip.shape and made.dtype == np.uint8
    spreads = made[1:].std(axis=(1, 2, 3))
    assert spreads.min() > 0 and 2 < spreads.max() < 60
    assert np.array_equal(made, grainy(clip, 3)) and not np.array_equal(made, grainy(clip, 4))
    (plain, labels), (with_it, same) = (clips_of(["melt"], 0, 2, tmp_path, grain) for grain in (False, True))
    assert labels.tolist() == same.tolist() and plain.shape == with_it.shape
    assert not np.allclose(plain, with_it), "what is measured on the one is not kept for the other"


def test_rendering_and_telling_apart_need_none_of_the_libraries_that_a_training_machine_may_lack():
    program = (
        "import sys; sys.modules |= dict.fromkeys(('ray', 'diffusers', 'transformers', 'lancedb', 'av'))\n"
        "import tests.benchmarks.effects, pipeline.samples.splits\n"
        "from pipeline.samples.draw import draw_clip\n"
        "print(draw_clip(7, 3, 32, 48)[0].shape)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(3, 32, 48, 3)"
