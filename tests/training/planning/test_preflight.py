"""What a run needs is known from configurations, before a worker is asked for."""

import json
import shutil

import pytest
import torch

from tests.training.small_backbones import SMALL, load_backbone
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, TRANSFORMER_5B_I2V, VAE_5B_I2V
from training.backbones.registry import locate_backbone
from training.backbones.settings import BackboneSettings
from training.build import BuildMethod
from training.errors import TooLittleMemory, TrainingError, WeightsUnreachable
from training.methods.registry import parse_settings
from training.planning.preflight import plan_run, preflight
from training.run.devices import device_memory, host_memory, known_gpu, peak_flops
from training.run.settings import TrainSettings

GB = 10**9


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The real 5B backbone's configurations, without a weight beside them."""
    folder = tmp_path_factory.mktemp("full")
    configs = {
        "transformer/config.json": TRANSFORMER_5B_I2V,
        "vae/config.json": VAE_5B_I2V,
        "scheduler/scheduler_config.json": SCHEDULER_5B_I2V,
    }
    for name, config in configs.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(json.dumps(config))
    settings = BackboneSettings(model=str(folder))
    backbone = CogVideoXBackbone(settings, folder, {})
    return BuildMethod(settings, parse_settings({})).on_meta(backbone), backbone.latent_shape


def ask(full, capacity: int | None, **settings):
    return plan_run(*full, TrainSettings(precision="bf16", **settings), capacity)


def test_auto_is_replaced_by_what_fits_the_device(full):
    auto = {"zero_stage": "auto", "activation_checkpointing": "auto"}
    large = ask(full, 141 * GB, **auto).settings
    assert (large.zero_stage, large.activation_checkpointing) == (1, "none")
    small = ask(full, 24 * GB, workers=8, **auto)
    assert small.settings.activation_checkpointing != "none"
    assert small.chosen.fits(24 * GB)


def test_what_is_fixed_is_kept_and_the_rest_chosen(full):
    kept = ask(full, 141 * GB, zero_stage=2, activation_checkpointing="auto").settings
    assert (kept.zero_stage, kept.activation_checkpointing) == (2, "none")
    every = ask(full, 141 * GB, zero_stage="auto", activation_checkpointing=3).settings
    assert every.activation_checkpointing == 3


def test_fixed_settings_that_do_not_fit_are_told_about_auto(full):
    with pytest.raises(TooLittleMemory, match=r"a device has 40\.0 GB\. Use `zero_stage`.* set to auto"):
        ask(full, 40 * GB)


def test_the_setting_memory_gb_goes_before_what_the_machine_says(full):
    with pytest.raises(TooLittleMemory, match=r"a device has 2\.0 GB"):
        ask(full, 141 * GB, memory_gb=2, zero_stage="auto", activation_checkpointing="auto")


def test_auto_without_any_knowledge_of_the_devices_says_which_setting_helps(full):
    with pytest.raises(TrainingError, match="memory_gb"):
        ask(full, None, zero_stage="auto")
    assert ask(full, None).chosen.zero_stage == 1


def test_the_work_of_a_sample_is_that_of_the_model_whatever_is_recomputed(full):
    plain, recomputed = (ask(full, 141 * GB, activation_checkpointing=p) for p in ("none", "full"))
    assert 5e14 < plain.flops_per_sample == recomputed.flops_per_sample < 2e15


def test_the_table_has_every_stage_and_policy_and_marks_what_is_taken_and_what_does_not_fit(full):
    table = ask(full, 80 * GB, workers=2, activation_checkpointing=3).table()
    assert [line.split()[0] for line in table[:-1]] == [
        "checkpointing",
        "none",
        "every",
        "every",
        "full",
        "every",
    ]
    assert all(line.count("GB") == 4 for line in table[1:-1])
    assert sum(line.count("*") for line in table[:-1]) == 1
    assert "-" in table[1].replace("ZeRO-", "")


def test_torn_weights_are_found_from_their_headers(tiny_folder, tmp_path):
    shutil.copytree(load_backbone(tiny_folder).folder, tmp_path / "torn")
    settings = load_backbone(tiny_folder).settings.model_copy(update={"model": str(tmp_path / "torn")})
    build = BuildMethod(settings, SMALL)
    located = locate_backbone(settings, ["transformer"])
    assert preflight(build, located, TrainSettings(), 8 * GB).chosen.total > 0
    weights = next((tmp_path / "torn" / "transformer").glob("*.safetensors"))
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size // 2)
    with pytest.raises(WeightsUnreachable, match=r"not a whole safetensors file.*Download"):
        preflight(build, located, TrainSettings(), 8 * GB)


def test_workers_on_one_host_share_its_memory_and_gpus_are_known_by_name():
    assert device_memory(4, on_gpu=False) == host_memory() // 4
    assert device_memory(8, on_gpu=True, accelerators=["H100", "H200"]) == 80 * GB
    assert known_gpu("NVIDIA A100-SXM4-80GB").memory == 80 * GB
    assert known_gpu("NVIDIA H200").bf16 == 989e12
    assert known_gpu("NVIDIA GeForce GTX 1080") is None
    assert peak_flops(torch.device("cpu"), "bf16") is None
    if not torch.cuda.is_available():
        assert device_memory(1, on_gpu=True) is None
