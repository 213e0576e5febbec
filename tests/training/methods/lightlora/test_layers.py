import pytest
import torch
from torch import nn

from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.errors import BadMethodSettings
from training.methods.lightlora.export import adapter_to_lora, merge_lora
from training.methods.lightlora.layers import LightLoRA, LightLoRALinear
from training.methods.registry import build_method as build_on

ATOL = 2e-5


def test_the_residual_is_the_product_of_the_four_factors():
    torch.manual_seed(0)
    base, scale, rank = nn.Linear(10, 7), 0.5, 2
    layer = LightLoRALinear(base, nn.Parameter(torch.randn(4, 10)), nn.Parameter(torch.randn(7, 3)), scale)
    a_pred, b_pred, x = torch.randn(5, rank, 4), torch.randn(5, 3, rank), torch.randn(5, 6, 10)
    layer.down_pred, layer.up_pred = a_pred, b_pred
    for i in range(5):
        update = (layer.up_aux @ b_pred[i]) @ (a_pred[i] @ layer.down_aux)
        assert torch.allclose(layer(x)[i], x[i] @ (base.weight + scale * update).T + base.bias, atol=1e-5)


def test_an_unbound_layer_is_the_frozen_linear():
    base = nn.Linear(8, 8)
    layer = LightLoRALinear(base, nn.Parameter(torch.randn(3, 8)), nn.Parameter(torch.randn(8, 3)), 1.0)
    x = torch.randn(2, 4, 8)
    assert torch.equal(layer(x), base(x))


def test_auxiliary_matrices_start_orthogonal_with_constant_norm(tiny_folder):
    method = build_method(tiny_folder)
    for layer in method.adapters.layers.values():
        rows = layer.down_aux @ layer.down_aux.T
        columns = layer.up_aux.T @ layer.up_aux
        assert torch.allclose(rows, torch.eye(SMALL.down_size), atol=1e-5)
        assert torch.allclose(columns, torch.eye(SMALL.up_size), atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_per_sample_adapters_equal_merged_weights_applied_one_by_one(tiny_folder, rank):
    settings = SMALL.model_copy(update={"rank": rank, "scale": 0.7})
    method = disturb(build_method(tiny_folder, settings), size=0.5)
    batch = random_batch(1, 2, 3)
    with torch.no_grad():
        theta = method.condition(batch.references)
        together = method.sample_losses(batch, theta)
        frozen = method.sample_losses(batch, None)
        plain = load_backbone(tiny_folder)
        weights = {name: value.clone() for name, value in plain.transformer.state_dict().items()}
        for row in range(3):
            lora = adapter_to_lora(method.adapters, theta[row])
            plain.transformer.load_state_dict(merge_lora(weights, lora))
            reference = build_on(settings, plain.dit)
            alone = reference.sample_losses(batch.select([row]), None)
            assert torch.allclose(alone[0], together[row], atol=ATOL)
            plain = load_backbone(tiny_folder)
    # The adapters do something, and each something else.
    assert (together - frozen).abs().max() > 1e-2
    assert (theta[0] - theta[1]).abs().max() > 1e-3


def test_inference_binding_is_put_back_even_after_an_error(tiny_folder):
    method = disturb(build_method(tiny_folder))
    batch = random_batch(1)
    bound = method.condition(batch.references)
    method.adapters.bind(bound)
    layer = next(iter(method.adapters.layers.values()))
    before = layer.down_pred
    with pytest.raises(KeyError), method.under(2 * bound.detach()):
        assert layer.down_pred is not before
        raise KeyError
    assert layer.down_pred is before
    with method.under(None):
        assert layer.down_pred is None


def test_the_frozen_weights_keep_their_names_below_base_and_never_train(tiny_folder):
    method = build_method(tiny_folder)
    frozen = {name for name, value in method.named_parameters() if not value.requires_grad}
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert "transformer.transformer_blocks.0.attn1.to_q.base.weight" in frozen
    assert all(name.startswith("hypernetwork.") or name.endswith(("down_aux", "up_aux")) for name in trained)
    assert len(method.trainable_parameters()) == len(trained)
    assert len({id(p) for p in method.trainable_parameters()}) == len(trained)


def test_a_shared_matrix_is_one_parameter_of_q_k_and_v(tiny_folder):
    shared = build_method(tiny_folder, SMALL.model_copy(update={"share_qkv_down": True}))
    block = shared.transformer.transformer_blocks[0].attn1
    assert block.to_q.down_aux is block.to_k.down_aux is block.to_v.down_aux
    assert block.to_out[0].down_aux is not block.to_q.down_aux
    assert block.to_q.up_aux is not block.to_k.up_aux
    loss = shared(random_batch(1, 2)).loss
    loss.backward()
    assert len(shared.trainable_state()) == len(shared.trainable_parameters())
    separate = build_method(tiny_folder)
    saved = len(separate.trainable_parameters()) - len(shared.trainable_parameters())
    assert saved == 2 * len(shared.transformer.transformer_blocks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"targets": ("attn1.to_z",)}, "attn1.to_q"),
        ({"targets": ("norm1",)}, "no linear"),
        ({"targets": ("attn1.to_q", "attn1.to_z")}, "attn1.to_q"),
        ({"down_size": 1000}, "down_size 1000"),
        ({"up_size": 1000}, "up_size 1000"),
        ({"width": 30, "heads": 4}, "30"),
    ],
)
def test_settings_that_do_not_fit_the_backbone_are_one_sentence(tiny_folder, change, says):
    backbone = load_backbone(tiny_folder)
    settings = SMALL.model_copy(update=change)
    with pytest.raises(BadMethodSettings, match=says):
        build_on(settings, backbone.dit)
    if "targets" in change:
        assert not any(isinstance(part, LightLoRALinear) for part in backbone.transformer.modules())


def test_adapting_the_same_transformer_twice_is_refused(tiny_folder):
    method = build_method(tiny_folder)
    with pytest.raises(BadMethodSettings, match="already"):
        LightLoRA(method.transformer, SMALL.targets, 4, 4)


def test_an_adapter_of_another_model_is_refused(tiny_folder):
    method = build_method(tiny_folder)
    with pytest.raises(BadMethodSettings, match="does not fit"):
        method.adapters.bind(torch.zeros(1, 3, 150))
