from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.errors import StateMismatch
from training.run.activations import checkpoint_blocks


def test_at_the_start_the_adapted_network_is_bit_equal_to_the_frozen_one(tiny_folder):
    plain = load_backbone(tiny_folder).dit
    method = build_method(tiny_folder)
    batch = random_batch(1, 2)
    noisy, timesteps, _ = method.dit.objective.corrupt(batch.target_latents, batch.sample_seeds)
    with torch.no_grad(), method.under(method.condition(batch.references)) as velocity:
        adapted = velocity(noisy, timesteps, batch.scene)
        assert torch.equal(adapted, plain.velocity(noisy, timesteps, batch.scene))


def test_without_identity_start_the_network_differs_from_the_frozen_one(tiny_folder):
    method = build_method(tiny_folder, SMALL.model_copy(update={"identity_start": False}))
    batch = random_batch(1, 2)
    with torch.no_grad():
        theta = method.condition(batch.references)
        assert not torch.equal(method.sample_losses(batch, theta), method.sample_losses(batch, None))


@pytest.mark.parametrize("share", [False, True])
def test_every_trainable_tensor_has_a_gradient_after_two_steps(tiny_folder, share):
    method = build_method(tiny_folder, SMALL.model_copy(update={"share_qkv_down": share}))
    optimizer = torch.optim.AdamW(method.trainable_parameters(), lr=1e-3)
    for step in range(3):
        optimizer.zero_grad()
        method(random_batch(2 * step, 2 * step + 1)).loss.backward()
        if step == 0:
            # At the identity only the half of the head that predicts B moves: nothing else can matter yet.
            head = method.hypernetwork.head.weight.grad
            assert head[SMALL.down_size :].any()
            assert not head[: SMALL.down_size].any()
        optimizer.step()
    still = [
        name
        for name, value in method.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.any())
    ]
    assert still == []
    assert all(value.grad is None for value in method.parameters() if not value.requires_grad)


def test_training_lowers_the_loss_of_a_batch_it_sees_again(tiny_folder):
    method = build_method(tiny_folder)
    optimizer = torch.optim.AdamW(method.trainable_parameters(), lr=3e-3)
    batch = random_batch(1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = method(batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.005


def test_the_loss_of_a_batch_is_the_mean_of_its_samples_alone(tiny_folder):
    method = disturb(build_method(tiny_folder))
    batch = random_batch(4, 5, 6)
    with torch.no_grad():
        together = method(batch).loss
        alone = torch.stack([method(batch.select([row])).loss for row in range(3)])
        turned = method(batch.select([2, 0, 1])).loss
    assert torch.allclose(together, alone.mean(), atol=1e-5)
    assert torch.allclose(together, turned, atol=1e-5)
    assert alone.std() > 1e-3


def test_the_gradient_of_a_batch_is_the_mean_of_its_halves(tiny_folder):
    method = disturb(build_method(tiny_folder))
    batch = random_batch(4, 5, 6, 7)

    def gradients(*parts) -> torch.Tensor:
        method.zero_grad()
        for part in parts:
            (method(part).loss / len(parts)).backward()
        return torch.cat([value.grad.flatten() for value in method.trainable_parameters()])

    whole = gradients(batch)
    halves = gradients(batch.select([0, 1]), batch.select([2, 3]))
    assert torch.allclose(whole, halves, atol=1e-6)
    assert whole.norm() > 1e-3


def test_the_initial_values_depend_on_the_seed_alone(tiny_folder):
    torch.manual_seed(1)
    first = build_method(tiny_folder, seed=3)
    state_before = torch.random.get_rng_state()
    second = build_method(tiny_folder, seed=3)
    other = build_method(tiny_folder, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state_before)
    for name, value in first.trainable_state().items():
        assert torch.equal(value, second.trainable_state()[name])
    assert not torch.equal(first.hypernetwork.layer_position, other.hypernetwork.layer_position)


@pytest.mark.parametrize("share", [False, True])
def test_the_trained_state_survives_a_file(tiny_folder, tmp_path, share):
    settings = SMALL.model_copy(update={"share_qkv_down": share})
    trained = disturb(build_method(tiny_folder, settings))
    save_file(trained.trainable_state(), tmp_path / "model.safetensors")
    fresh = build_method(tiny_folder, settings, seed=9)
    fresh.load_trainable_state(load_file(tmp_path / "model.safetensors"))
    batch = random_batch(1)
    with torch.no_grad():
        assert torch.equal(trained(batch).loss, fresh(batch).loss)


def test_the_state_of_another_model_is_refused_and_nothing_is_copied(tiny_folder):
    method = build_method(tiny_folder)
    before = {name: value.clone() for name, value in method.trainable_state().items()}
    fewer = dict(list(before.items())[:-1])
    wider = build_method(tiny_folder, SMALL.model_copy(update={"width": 64}))
    with pytest.raises(StateMismatch, match="names differ"):
        method.load_trainable_state(fewer)
    with pytest.raises(StateMismatch, match="has shape"):
        method.load_trainable_state(wider.trainable_state())
    for name, value in method.trainable_state().items():
        assert torch.equal(value, before[name])


def test_a_module_cast_to_bf16_keeps_its_schedule_and_its_fp32_loss(tiny_folder):
    method = disturb(build_method(tiny_folder)).to(torch.bfloat16)
    loss = method(random_batch(1, 2).to(dtype=torch.bfloat16)).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert method.dit.objective.alphas_cumprod.dtype == torch.float64
    assert all(value.grad.dtype == torch.bfloat16 for value in method.trainable_parameters())
    exact = disturb(build_method(tiny_folder))(random_batch(1, 2)).loss
    assert abs(loss.item() - exact.item()) < 0.02


def test_fp32_trainables_beside_a_bf16_backbone_get_fp32_gradients(tiny_folder):
    method = disturb(build_method(tiny_folder))
    for name, value in method.named_parameters():
        if not value.requires_grad:
            value.data = value.data.to(torch.bfloat16)
        assert name
    method.transformer.patch_embed.pos_embedding = method.transformer.patch_embed.pos_embedding.bfloat16()
    method(random_batch(1)).loss.backward()
    assert all(value.grad.dtype == torch.float32 for value in method.trainable_parameters())


def test_the_frozen_transformer_stays_in_evaluation_mode(tiny_folder):
    method = build_method(tiny_folder).train()
    assert method.hypernetwork.training
    assert not any(part.training for part in method.transformer.modules())


def test_a_runs_timestep_shift_moves_what_it_trains_on_and_not_what_it_is_measured_on(tiny_folder):
    method = build_method(tiny_folder, SMALL.model_copy(update={"timestep_shift": 8.0}))
    plain = build_method(tiny_folder)
    batch = random_batch(1, 2)
    with torch.no_grad():
        trained = method(batch).metrics["timestep"]
        assert trained == method.dit.objective.timesteps(batch.sample_seeds, 8.0).float().mean()
        assert trained > plain(batch).metrics["timestep"]
        assert torch.equal(method.sample_losses(batch, None), plain.sample_losses(batch, None))


def test_a_prediction_refined_by_gradient_starts_at_the_identity_and_sees_what_the_frozen_model_makes_of_it(
    tiny_folder,
):
    refined = SMALL.model_copy(update={"gradient_refinement": True, "gradient_draws": 1})
    method = build_method(tiny_folder, refined)
    batch = random_batch(1, 2)
    with torch.no_grad():
        theta = method.condition(batch.references)
        assert torch.equal(method.sample_losses(batch, theta), method.sample_losses(batch, None))
    # Steps along the gradient alone lower the references' own loss: they are what polish does.
    with torch.no_grad():
        method.hypernetwork.rate.fill_(0.05)
        stepped = method.condition(batch.references)
        own = replace(
            batch,
            target_latents=batch.references.latents,
            first_frame_latents=batch.references.latents[:, 0],
            text_embeddings=torch.zeros_like(batch.text_embeddings),
        )
        seeds = torch.arange(40)

        def loss(condition: torch.Tensor) -> float:
            draws = (replace(own, sample_seeds=seeds[at : at + 2]) for at in range(0, 40, 2))
            return sum(method.sample_losses(each, condition).mean().item() for each in draws)

        assert loss(stepped) < loss(theta)
        assert torch.equal(stepped, method.condition(batch.references))
        alone = method.condition(batch.references.select([1]))
        torch.testing.assert_close(alone, stepped[1:], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("policy", ["none", "full"])
def test_refined_by_gradient_it_trains_with_checkpointing_too(tiny_folder, policy):
    refined = SMALL.model_copy(update={"gradient_refinement": True, "gradient_draws": 1})
    method = disturb(build_method(tiny_folder, refined))
    checkpoint_blocks(method.dit, policy)
    optimizer = torch.optim.AdamW(method.trainable_parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = method(random_batch(1)).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    still = [
        name
        for name, value in method.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.any())
    ]
    assert still == []
    assert all(value.grad is None for value in method.parameters() if not value.requires_grad)
