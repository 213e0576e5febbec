import torch

from training.randomness import initial_values


def test_initial_values_depend_on_their_seed_alone_and_move_no_generator(monkeypatch):
    moved = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", moved.append)
    before = torch.random.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        torch.randn(3)
        with initial_values(seed):
            drawn.append(torch.randn(4))
    torch.random.set_rng_state(before)
    with initial_values(1):
        torch.randn(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert moved == []
