"""The benchmark of a training step runs where there is no GPU, and says what it promises."""

import json

import pytest
import torch

from tests.benchmarks.step_models import TINY, PlainLoRA, random_batch, random_transformer, strip
from tests.benchmarks.train_step import main
from training.backbones.cogvideox.conditioning import predict_velocity


def test_the_benchmark_ends_with_one_json_object_that_holds_every_kind_of_step(capsys):
    report = main(["--size", "tiny", "--policy", "none", "2", "--steps", "2", "--warmup", "1", "--json"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last)["policies"].keys() == report["policies"].keys() == {"none", "2"}
    for row in report["policies"].values():
        for step in ("video2lora", "plain_lora", "bare", "inline"):
            assert {"seconds", "p10", "p90", "mfu", "hfu", "peak_bytes"} <= row[step].keys()
            assert row[step]["seconds"] > 0
        assert {"over_plain_lora", "method_share", "faster_than_inline"} <= row.keys()
    assert report["model_flops"] > report["method_flops"] > 0
    assert report["peak_rss_mb"] > 0


def test_a_policy_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--policy", "every"])
    assert stopped.value.code == 2
    assert "no policy 'every'" in capsys.readouterr().err


def test_plain_lora_starts_as_the_frozen_transformer_trains_its_factors_alone_and_can_be_taken_off():
    device = torch.device("cpu")
    transformer = random_transformer(TINY, device, torch.float32)
    names = set(transformer.state_dict())
    batch = random_batch(TINY, 2, device, torch.float32)

    def output() -> torch.Tensor:
        with torch.no_grad():
            return predict_velocity(
                transformer,
                batch.target_latents,
                batch.first_frame_latents,
                batch.text_embeddings,
                torch.tensor([10, 900]),
            )

    frozen = output()
    assert frozen.isfinite().all() and frozen.std() > 0
    plain = PlainLoRA(transformer, TINY.settings.targets, rank=4)
    assert torch.equal(output(), frozen)
    plain(batch).loss.backward()
    trained = {
        name.rpartition(".")[0].rpartition(".")[2]
        for name, p in plain.named_parameters()
        if p.grad is not None
    }
    assert trained == {"down", "up"}
    assert set(strip(transformer).state_dict()) == names
