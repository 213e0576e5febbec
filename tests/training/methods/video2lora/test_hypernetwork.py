import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.small_backbones import LATENTS, random_batch
from training.methods.video2lora.hypernetwork import HyperNetwork, _patchify, positions_3d

SIZES = {"channels": 16, "layers": 5, "down_values": 6, "up_values": 4, "width": 32, "heads": 2, "blocks": 2}


def build(**changes) -> HyperNetwork:
    torch.manual_seed(0)
    return HyperNetwork(**(SIZES | {"refinements": 2, "identity_start": False} | changes)).double().eval()


def reference() -> tuple[torch.Tensor, torch.Tensor]:
    batch = random_batch(1)
    return batch.references.latents.double(), batch.references.mask


def difference(
    network: HyperNetwork, latents: torch.Tensor, other: torch.Tensor, mask: torch.Tensor
) -> float:
    with torch.no_grad():
        return (network(latents, mask) - network(other, mask)).abs().max().item()


def test_shuffled_frames_and_rows_change_the_prediction():
    latents, mask = reference()
    network = build()
    assert difference(network, latents, latents.flip(1), mask) > 1e-4
    assert difference(network, latents, latents.flip(3), mask) > 1e-4
    assert difference(network, latents, latents.flip(4), mask) > 1e-4
    assert difference(network, latents, latents[:, [1, 0, 2]], mask) > 1e-5


def test_without_positions_the_order_of_frames_cannot_matter():
    latents, mask = reference()
    network = build(positions=False)
    assert difference(network, latents, latents.flip(1), mask) < 1e-12
    assert difference(network, latents, latents + 1, mask) > 1e-4


def test_what_motion_adds_to_a_token_does_not_know_the_standing_picture():
    latents, mask = reference()
    network = build(motion=True)
    standing = torch.randn_like(latents[:, :1])
    assert difference(network, latents, latents + standing, mask) > 1e-4
    cells = network.project.weight.unflatten(1, (-1, 2 * SIZES["channels"]))
    with torch.no_grad():
        cells[..., : SIZES["channels"]] = 0  # what a token says about the latents themselves
    assert difference(network, latents, latents + standing, mask) < 1e-12
    assert difference(network, latents, latents.flip(1), mask) > 1e-4


def test_video_blocks_let_a_token_know_of_the_others():
    latents, mask = reference()
    for blocks, mixes in ((0, False), (2, True)):
        network = build(video_blocks=blocks)
        seen = []
        network.decoder[0].cross.to_k.register_forward_hook(
            lambda _, given, __, seen=seen: seen.append(given)
        )
        changed = latents.clone()
        changed[:, -1] += 1
        with torch.no_grad():
            network(latents, mask), network(changed, mask)
        (before,), (after,) = seen
        assert torch.equal(before[:, 0], after[:, 0]) is not mixes


@pytest.mark.parametrize("motion", [False, True])
def test_padding_does_not_matter_whatever_it_holds(motion):
    latents, mask = reference()
    mask = mask.clone()
    mask[:, 2:] = False
    mask[:, :, :, 5:] = False  # half a patch
    network = build(motion=motion, video_blocks=int(motion))
    other = torch.where(mask[:, :, None], latents, torch.full_like(latents, torch.nan))
    assert difference(network, latents, other, mask) == 0
    with torch.no_grad():
        short = network(latents[:, :2, :, :, :5], mask[:, :2, :, :5])
        assert torch.allclose(network(latents, mask), short, atol=1e-12)
    assert difference(network, latents, other.nan_to_num(100), torch.ones_like(mask)) > 1e-4


def test_the_prediction_of_a_sample_does_not_depend_on_its_batch():
    batch = random_batch(1, 2, 3)
    network = build()
    with torch.no_grad():
        together = network(batch.references.latents.double(), batch.references.mask)
        alone = network(batch.references.latents[1:2].double(), batch.references.mask[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-12)


def test_each_refinement_adds_to_the_one_before():
    latents, mask = reference()
    once, twice = build(refinements=1), build(refinements=2)
    twice.load_state_dict(once.state_dict())
    with torch.no_grad():
        tokens, real = twice.video_tokens(latents, mask)
        first = once(latents, mask)
        hidden = twice.embed(first) + twice.layer_position
        for block in twice.decoder:
            hidden = block(hidden, *block.cross.keys_values(tokens), real[:, None, None, :])
        assert torch.allclose(twice(latents, mask), first + twice.head(twice.norm(hidden)), atol=1e-12)


def test_identity_start_predicts_a_constant_of_norm_one_and_zero():
    latents, mask = reference()
    network = build(identity_start=True)
    with torch.no_grad():
        theta = network(latents, mask)
    assert torch.count_nonzero(theta[..., SIZES["down_values"] :]) == 0
    assert torch.allclose(theta[..., : SIZES["down_values"]].norm(dim=-1), torch.ones(1, 5).double())


def test_every_cell_of_a_grid_has_its_own_position():
    for width in (8, 24, 128, 150):
        table = positions_3d((13, 6, 9), width, torch.device("cpu"))
        assert table.shape == (13 * 6 * 9, width)
        assert len(torch.unique(table, dim=0)) == 13 * 6 * 9


@settings(max_examples=25, deadline=None)
@given(grid=st.tuples(*[st.integers(1, 5)] * 3), patch=st.tuples(*[st.integers(1, 3)] * 3))
def test_patches_hold_every_cell_once(grid, patch):
    cells = torch.arange(1.0, 1 + grid[0] * grid[1] * grid[2] * 2).view(1, *grid, 2)
    patches = _patchify(cells, patch)
    assert patches.shape[1:4] == tuple(-(-g // p) for g, p in zip(grid, patch, strict=True))
    found = patches[patches > 0].sort().values
    assert torch.equal(found, cells.flatten())


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2), (3, 2, 2)])
def test_the_patch_size_is_a_setting(patch):
    latents, mask = reference()
    tokens, real = build(patch=patch).video_tokens(latents, mask)
    frames, _, height, width = LATENTS
    assert tokens.shape[1] == frames // patch[0] * (height // patch[1]) * (width // patch[2]) == real.shape[1]
