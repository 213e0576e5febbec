"""One DeepSpeed engine in this process; two workers are compared in test_parity.py."""

import gc
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.training.run.saved import everything, saved
from tests.training.run.toy import Toy, toy_batch
from tests.training.small import KINDS, small_batch, small_module
from training.errors import TrainingError
from training.evaluation.while_training import EvaluateTransfer
from training.run.blocks import prepare_blocks
from training.run.checkpoint import Checkpoint
from training.run.schedule import rank_samples
from training.run.settings import TrainSettings

STAGES, PRECISIONS = (0, 1, 2, 3), ("fp32", "bf16")
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def deepspeeds_linear_ends_with_these_tests():
    """ZeRO-3 replaces `torch.nn.functional.linear` for the whole process, for good."""
    linear = nn.functional.linear
    yield
    nn.functional.linear = linear


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory):
    store = dist.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("RANK", "LOCAL_RANK"):  # DeepSpeed asks for them
            environment.setenv(name, "0")
        environment.setenv("WORLD_SIZE", "1")
        yield
    dist.destroy_process_group()


@pytest.fixture
def engines():
    """Makes engines and gives their hooks back after the test."""
    from training.run.engine import Engine

    made = []

    def make(module: nn.Module, resume: Checkpoint | None = None, **settings) -> Engine:
        made.append(Engine(module, TrainSettings(**settings), 1, CPU, resume))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def advance(engine, first: int, last: int) -> None:
    """Train from step `first` to `last` on four samples a step."""
    settings = engine.settings
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    for step in range(first, last):
        micros = rank_samples(step, 0, 1, settings.batch_size, settings.accumulation)
        for at, numbers in enumerate(micros):
            engine.accumulate(toy_batch(numbers).to(CPU, dtype))
            if at < len(micros) - 1:
                engine.skip()
        engine.step(1e-2)
        engine.update_ema(step + 1)


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    tensors = everything(found)
    for name, tensor in everything(expected).items():
        assert torch.equal(tensors[name], tensor), name


def assert_close(found: Checkpoint, expected: Checkpoint) -> None:
    tensors = everything(found)
    for name, tensor in everything(expected).items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def toy(seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    return Toy()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_that_goes_on_from_a_state_ends_bit_for_bit_where_one_that_never_stopped_does(
    engines, tmp_path, stage, precision
):
    settings = {"batch_size": 4, "zero_stage": stage, "precision": precision, "ema_decay": 0.9}
    whole = engines(toy(), **settings)
    advance(whole, 0, 6)
    first = engines(toy(), **settings)
    advance(first, 0, 3)
    second = engines(toy(seed=99), resume=saved(first.shard(), tmp_path / "half"), **settings)
    advance(second, 3, 6)
    expected, found = saved(whole.shard(), tmp_path / "whole"), saved(second.shard(), tmp_path / "second")
    assert found.step == expected.step == 6
    assert_same(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_that_goes_on_ends_bit_for_bit_where_one_that_never_stopped_does(
    engines, tmp_path, kind
):
    def steps(engine, first: int, last: int) -> None:
        for step in range(first, last):
            engine.accumulate(small_batch([2 * step, 2 * step + 1]))
            engine.step(1e-2)

    whole, begun = (engines(small_module(kind), batch_size=2) for _ in range(2))
    steps(whole, 0, 4)
    steps(begun, 0, 2)
    resumed = engines(small_module(kind), resume=saved(begun.shard(), tmp_path / "begun"), batch_size=2)
    steps(resumed, 2, 4)
    expected = everything(saved(whole.shard(), tmp_path / "whole"))
    found = everything(saved(resumed.shard(), tmp_path / "resumed"))
    start = small_module(kind).trainable_state()
    assert all(not torch.equal(expected[f"master/{name}"], value) for name, value in start.items())
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 1), (2, 0)])
def test_a_state_of_one_zero_stage_is_a_state_of_any_other(engines, tmp_path, before, after):
    first = engines(toy(), batch_size=4, zero_stage=before)
    advance(first, 0, 3)
    state = saved(first.shard(), tmp_path / "before")
    second = engines(toy(seed=99), resume=state, batch_size=4, zero_stage=after)
    assert_same(saved(second.shard(), tmp_path / "taken"), state)
    advance(first, 3, 5)
    advance(second, 3, 5)
    assert_close(saved(second.shard(), tmp_path / "second"), saved(first.shard(), tmp_path / "first"))


@pytest.mark.parametrize("stage", STAGES)
def test_two_micro_batches_of_two_are_one_batch_of_four(engines, tmp_path, stage):
    one = engines(toy(), batch_size=4, zero_stage=stage)
    two = engines(toy(), batch_size=2, accumulation=2, zero_stage=stage)
    advance(one, 0, 3)
    advance(two, 0, 3)
    assert_close(saved(two.shard(), tmp_path / "two"), saved(one.shard(), tmp_path / "one"))


@pytest.mark.parametrize("stage", STAGES)
def test_the_average_is_bound_inside_its_block_and_gone_after_it(engines, tmp_path, stage):
    engine = engines(toy(), batch_size=4, zero_stage=stage, ema_decay=0.9)
    advance(engine, 0, 5)
    state, batch = saved(engine.shard(), tmp_path), toy_batch([1, 2, 3])

    def reference(weights: dict[str, torch.Tensor]) -> float:
        module = toy()
        module.load_state_dict(module.state_dict() | weights)
        return module(batch).loss.item()

    with torch.no_grad():
        before = engine.module(batch).loss.item()
        with engine.ema_weights():
            inside = engine.module(batch).loss.item()
        after = engine.module(batch).loss.item()
    assert inside == pytest.approx(reference(state.tensors("ema")), rel=1e-5)
    assert before == after == pytest.approx(reference(state.tensors("master")), rel=1e-5)
    assert inside != pytest.approx(before, rel=1e-3)


class Heavy(Toy):
    """A toy whose frozen part outweighs everything else by far."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 700), nn.Linear(700, 700), nn.Linear(700, 8))
        self.backbone.requires_grad_(False)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_frozen_part_has_one_copy_in_the_runs_precision_and_never_changes(engines, stage, precision):
    torch.manual_seed(0)
    module = Heavy()
    gc.collect()
    known = {id(tensor) for tensor in gc.get_objects() if isinstance(tensor, torch.Tensor)}
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    frozen = {name: p.detach().to(dtype).clone() for name, p in module.backbone.named_parameters()}
    known |= {id(tensor) for tensor in frozen.values()}
    engine = engines(module, batch_size=4, zero_stage=stage, precision=precision)
    advance(engine, 0, 2)
    gc.collect()
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if isinstance(tensor, torch.Tensor) and id(tensor) not in known and not tensor.is_meta
    }
    heavy = sum(size for size in storages.values() if size > 400_000)
    one_copy = 700 * 700 * dtype.itemsize
    assert heavy <= one_copy
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(module.backbone.parameters())):
        for name, parameter in module.backbone.named_parameters():
            assert torch.equal(parameter.detach().reshape(frozen[name].shape), frozen[name]), name


@pytest.mark.parametrize("policy", ["full", 2])
def test_recomputing_blocks_in_backward_changes_no_gradient(policy):
    def gradients(**settings) -> dict[str, torch.Tensor]:
        module = small_module()
        prepare_blocks(module, TrainSettings(**settings))
        module(small_batch([1, 2])).loss.backward()
        return {name: p.grad for name, p in module.named_parameters() if p.requires_grad}

    expected = gradients()
    for name, gradient in gradients(activation_checkpointing=policy).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


def saved_bytes(policy: str | int) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once."""
    module = small_module()
    prepare_blocks(module, TrainSettings(activation_checkpointing=policy))
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    storages = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = module(small_batch([1, 2]))
    assert output.loss.requires_grad
    return sum(size for at, size in storages.items() if at not in own)


def test_more_recomputation_keeps_fewer_bytes_for_backward():
    assert saved_bytes("full") < saved_bytes(2) < saved_bytes("none")


def test_block_policies_need_a_module_with_blocks():
    with pytest.raises(TrainingError, match="activation_checkpointing"):
        prepare_blocks(Toy(), TrainSettings(activation_checkpointing="full"))
    prepare_blocks(Toy(), TrainSettings())


@pytest.mark.slow
def test_compiled_blocks_have_the_losses_of_plain_ones():
    plain, compiled = small_module(), small_module()
    prepare_blocks(compiled, TrainSettings(compile=True))
    for numbers in ([1, 2], [3, 4]):
        expected = plain(small_batch(numbers)).loss
        found = compiled(small_batch(numbers)).loss
        found.backward()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class HeldOut:
    """Two pairs of one group."""

    groups = ("seen", "seen")
    categories = ("melt", "glow")

    def batch(self, numbers):
        same, other = small_batch([900 + n for n in numbers]), small_batch([950 + n for n in numbers])
        return same, replace(same, references=other.references)


@pytest.mark.parametrize("stage", STAGES)
def test_a_look_at_held_out_pairs_between_two_steps_changes_nothing_of_the_training(engines, stage):
    """Under ZeRO-3 too, where the weights of a look come and go as those of a step do."""
    losses = []
    for look in (False, True):
        engine = engines(small_module(), zero_stage=stage, ema_decay=0.9)
        for step in range(3):
            loss, _ = engine.accumulate(small_batch([2 * step, 2 * step + 1]))
            engine.step(1e-2)
            engine.update_ema(step + 1)
            losses.append(loss.item())
            if look:
                with torch.no_grad(), engine.ema_weights():
                    evaluation = EvaluateTransfer(HeldOut(), 2, draws=1)
                    row = evaluation.row([evaluation.measure(engine.module)])
                assert row["loss_same_seen"] != row["loss_none_seen"]
    assert losses[:3] == losses[3:]
