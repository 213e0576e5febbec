"""How much memory loading takes, in a process of its own: a peak cannot be measured twice in one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from torch import nn

from training.backbones.cogvideox.published import TRANSFORMER_5B_I2V

PEAK = """
import sys
from pathlib import Path
import torch
from training.backbones.cogvideox.backbone import CogVideoXBackbone

def peak():
    # Not ru_maxrss, which begins with that of the process that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024

before = peak()
model = CogVideoXBackbone.loaders["transformer"](Path(sys.argv[1]), torch.bfloat16, "cpu")
torch.stack([parameter.float().sum() for parameter in model.parameters()])  # every page is read
print(peak() - before)
"""


@pytest.mark.slow
def test_a_transformer_is_loaded_in_little_more_than_the_size_of_its_file(tmp_path):
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel(**TRANSFORMER_5B_I2V | {"num_layers": 2})
    transformer = nn.Module.to(transformer, torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.fill_(0.01)
    transformer.save_pretrained(tmp_path / "transformer")
    size = sum(file.stat().st_size for file in (tmp_path / "transformer").glob("*.safetensors"))
    root = Path(__file__).parents[4]
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    ratio = int(run.stdout.split()[-1]) / size
    print(f"peak above the imports: {ratio:.2f} times the file of {size / 1e6:.0f} MB")
    assert ratio < 1.6
