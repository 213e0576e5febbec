import pytest
import torch

from tests.training.small_backbones import build_method, disturb, random_batch
from training.errors import BadMethodSettings
from training.run.activations import checkpoint_blocks, compile_blocks, uncompiled


def gradients(method, batch) -> torch.Tensor:
    method.zero_grad()
    loss = method(batch).loss
    loss.backward()
    return torch.cat(
        [loss.detach()[None], *(value.grad.flatten() for value in method.trainable_parameters())]
    )


@pytest.fixture
def method(tiny_folder):
    return disturb(build_method(tiny_folder))


@pytest.mark.parametrize(("policy", "every", "again"), [("full", 2, 4), ("every_n", 2, 2), ("every_n", 3, 2)])
def test_gradients_with_and_without_checkpointing_are_equal(method, policy, every, again):
    batch = random_batch(1, 2)
    plain = gradients(method, batch)
    checkpoint_blocks(method.dit, policy, every)
    runs = []
    hooks = [
        block.attn1.to_q.register_forward_hook(lambda *_: runs.append(1))
        for block in method.transformer.transformer_blocks
    ]
    assert torch.equal(gradients(method, batch), plain)
    assert len(runs) == len(method.transformer.transformer_blocks) + again
    for hook in hooks:
        hook.remove()
    checkpoint_blocks(method.dit, "none")
    assert torch.equal(gradients(method, batch), plain)


def test_factors_stay_bound_until_backward_is_over(method):
    """The next prediction may only be bound when the backward pass of this one is done."""
    checkpoint_blocks(method.dit, "full")
    batch, other = random_batch(1, 2), random_batch(3, 4)
    right = gradients(method, batch)
    method.zero_grad()
    loss = method(batch).loss
    # Inference between forward and backward is harmless: it puts back what was bound.
    with torch.no_grad():
        method.sample_losses(other, method.condition(other.references))
    loss.backward()
    assert torch.equal(
        torch.cat([value.grad.flatten() for value in method.trainable_parameters()]), right[1:]
    )
    # Binding another prediction first gives other gradients without any error: hence the order in the loop.
    method.zero_grad()
    loss = method(batch).loss
    method.adapters.bind(method.condition(other.references))
    loss.backward()
    wrong = torch.cat([value.grad.flatten() for value in method.trainable_parameters()])
    assert not torch.allclose(wrong, right[1:], atol=1e-5)


def test_compiled_blocks_train_like_plain_ones_with_new_predictions_each_step(method):
    batches = [random_batch(1, 2), random_batch(3, 4)]
    plain = [gradients(method, batch) for batch in batches]
    names = list(method.state_dict())
    compile_blocks(method.dit, backend="aot_eager")
    try:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        compiled = [gradients(method, batch) for batch in batches]
        for a, b in zip(plain, compiled, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
        assert list(method.state_dict()) == names
        # The first block's input needs no gradient, the others' does: two graphs serve every step.
        stats = torch._dynamo.utils.counters["stats"]
        assert stats["unique_graphs"] == 2
        checkpoint_blocks(method.dit, "full")
        assert torch.allclose(gradients(method, batches[1]), plain[1], atol=1e-5)
        assert stats["unique_graphs"] == 2
    finally:
        uncompiled(method)


def test_an_unknown_policy_is_refused(method):
    with pytest.raises(BadMethodSettings, match="No checkpointing policy 'some'"):
        checkpoint_blocks(method.dit, "some")
    with pytest.raises(BadMethodSettings, match="every=0"):
        checkpoint_blocks(method.dit, "every_n", every=0)
