"""The training stream: the same samples whoever asks, fetched ahead through a real Ray."""

import json
import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from catalog.errors import UnknownCategory
from catalog.store import Catalog
from pipeline.adapters import keep_adapters
from pipeline.encode import EMPTY_CAPTION
from pipeline.features.tensors import to_bytes
from pipeline.pairing.held_out import HeldOutStream
from pipeline.pairing.plan import NoPairs, PairSettings
from pipeline.pairing.stream import NothingEncoded, PairStream
from pipeline.pairing.taught import NothingTaught
from tests.pipeline.made import SPEC
from training.batch import TrainingBatch
from training.errors import NoBatch

ENCODER = "f" * 64
F, C, H, W, T, D = 3, 16, 4, 6, 5, 8
NOISED = 2
SETTINGS = PairSettings(seed=5, caption_dropout=0.5)


def feature(clip_id: str, number: int, frames: int = F) -> dict:
    """Features that name their clip: the mean is `number`, variant v of the first frame is `number + v`."""
    first = torch.full((1 + NOISED, C, H, W), float(number)) + torch.arange(1 + NOISED)[:, None, None, None]
    return {
        "clip_id": clip_id,
        "encoder_id": ENCODER,
        "latents_mean": to_bytes(torch.full((frames, C, H, W), float(number))),
        "latents_std": to_bytes(torch.full((frames, C, H, W), 0.5)),
        "latents_shape": [frames, C, H, W],
        "first_frame_latents": to_bytes(first),
        "first_frame_shape": list(first.shape),
        "text_embedding": to_bytes(torch.full((T, D), float(number))),
        "text_shape": [T, D],
        "caption": clip_id,
    }


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """Two categories of five clips; clip k has features filled with k, and -1 marks the empty caption."""
    catalog = Catalog.create(tmp_path_factory.mktemp("stream") / "catalog", SPEC)
    clips = {f"{name}-{i}": i + 10 * (name == "b") for name in "ab" for i in range(5)}
    catalog.upsert(
        "clips",
        [{"clip_id": c, "status": "accepted", "category_id": c[0], "split": "train"} for c in clips],
    )
    catalog.upsert("features", [feature(clip_id, number) for clip_id, number in clips.items()])
    empty = {"text_embedding": to_bytes(torch.full((T, D), -1.0)), "text_shape": [T, D], "caption": ""}
    catalog.upsert("features", [{"clip_id": EMPTY_CAPTION, "encoder_id": ENCODER, **empty}])
    return catalog.at(catalog.snapshot())


def number_of(clip_id: str) -> int:
    return int(clip_id[2:]) + 10 * (clip_id[0] == "b")


def assert_same(one: TrainingBatch, other: TrainingBatch) -> None:
    """Also in the noise: what the fetching thread drew is what a step would draw."""
    assert one.pair_ids == other.pair_ids
    other = other if other.noise is not None else other.ready()
    for name, value in vars(one).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(other, name)), name


def test_a_batch_holds_target_reference_and_first_frame_of_its_pairs(catalog):
    stream = PairStream.open(catalog, ENCODER, SETTINGS)
    batch = stream.batch(range(8))
    assert batch.target_latents.shape == (8, F, C, H, W)
    for i, pair in enumerate(stream.plan.pairs(range(8))):
        assert batch.pair_ids[i] == f"{pair.target_id}<-{pair.reference_id}"
        assert batch.sample_seeds[i] == pair.seed
        target, reference = number_of(pair.target_id), number_of(pair.reference_id)
        drawn = batch.target_latents[i].float() - target
        assert drawn.mean().abs() < 0.1
        assert 0.4 < drawn.std() < 0.6
        assert (batch.references.latents[i] == reference).all()
        assert batch.references.mask[i].all()
        assert batch.text_embeddings[i].unique().tolist() in ([-1.0], [float(target)])
        assert batch.first_frame_latents[i].unique().tolist() in [[float(target + v)] for v in (1, 2)]


def test_a_method_is_given_what_it_needs_of_as_many_references_as_it_takes(ray_cluster, catalog):
    needs = frozenset({"latents", "first_frame", "text"})
    stream = PairStream.open(catalog, ENCODER, SETTINGS, needs=needs, references=3)
    batch = stream.batch(range(8))
    shown = batch.references
    assert shown.latents.shape == (8, 3 * F, C, H, W) and shown.mask.shape == (8, 3 * F, H, W)
    for i, pair in enumerate(stream.plan.pairs(range(8), references=3)):
        names = [pair.reference_id, *pair.further_ids]
        assert len({pair.target_id, *names}) == 4 and {name[0] for name in names} == {pair.category}
        numbers = torch.tensor([float(number_of(name)) for name in names])
        assert torch.equal(shown.latents[i, ::F, 0, 0, 0].float(), numbers)
        # Its clean first frame, and no caption of its own where the target's is dropped.
        assert torch.equal(shown.first_frames[i, :, 0, 0, 0].float(), numbers)
        dropped = bool((batch.text_embeddings[i] == -1).all())
        assert torch.equal(
            shown.texts[i, :, 0, 0].float(), numbers.new_full((3,), -1) if dropped else numbers
        )
    fetched = next(iter(stream([list(range(8))])))
    assert all(torch.equal(getattr(fetched.references, n), getattr(shown, n)) for n in ("latents", "texts"))
    few = PairStream.open(catalog, ENCODER, SETTINGS, needs=frozenset({"latents"}), references=6).batch([0])
    names = few.pair_ids[0].partition("<-")[2].split("+")
    assert len(names) == 6 and len(set(names)) == 4 and few.references.texts is None
    assert few.references.latents.shape == (1, 6 * F, C, H, W)


def test_clips_that_have_an_adapter_teach_it_and_pairs_are_still_looked_at(ray_cluster, tmp_path):
    made = Catalog.create(tmp_path / "catalog", SPEC)
    clips = {"a-0": ("a", "train"), "a-1": ("a", "train"), "a-2": ("a", "val"), "b-0": ("b", "train"),
             "b-1": ("b", "train"), "b-2": ("b", "val"), "c-0": (None, None)}  # fmt: skip
    made.upsert(
        "clips",
        [
            {"clip_id": clip, "status": "accepted", "category_id": category, "split": split}
            for clip, (category, split) in clips.items()
        ],
    )
    made.upsert("features", [feature(clip, number) for number, clip in enumerate(clips)])
    empty = {"text_embedding": to_bytes(torch.full((T, D), -1.0)), "text_shape": [T, D], "caption": ""}
    made.upsert("features", [{"clip_id": EMPTY_CAPTION, "encoder_id": ENCODER, **empty}])
    with pytest.raises(NothingTaught, match=r"No clip has an adapter of 'm'.*adapter fill"):
        PairStream.open(made, ENCODER, SETTINGS, taught="m")
    known = {
        clip: np.full(300, float(number), np.float32) for number, clip in enumerate(clips) if clip != "b-1"
    }
    keep_adapters(made, "m", known)
    keep_adapters(made, "alike", {clip: np.ones(300, np.float32) for clip in clips})
    with pytest.raises(NothingTaught, match="stored are those of alike, m"):
        PairStream.open(made, ENCODER, SETTINGS, taught="n")
    with pytest.raises(NothingTaught, match="All 5 adapters of 'alike' are the same"):
        PairStream.open(made, ENCODER, SETTINGS, taught="alike").spread()
    stream = pickle.loads(pickle.dumps(PairStream.open(made, ENCODER, SETTINGS, taught="m")))
    numbers = list(range(stream.plan.epoch_size))
    (batch,) = stream([numbers])
    shown = [pair.partition("<-")[0] for pair in batch.pair_ids]
    assert sorted(shown) == ["a-0", "a-1", "b-0", "c-0"]
    assert batch.pair_ids == [f"{clip}<-{clip}" for clip in shown]
    for row, clip in enumerate(shown):
        assert (batch.references.latents[row] == list(clips).index(clip)).all()
        assert (batch.references.adapters[row] == torch.from_numpy(known[clip])).all()
    taught = np.stack([known[clip] for clip in sorted(shown)])
    assert stream.spread() == pytest.approx(((taught - taught.mean(0)) ** 2).mean())
    held_out = HeldOutStream.open(stream.pairs(), 4)
    assert {pair.target_id for pair in held_out.pairs} == {"a-2", "b-2"}
    assert held_out.batch([0])[0].references.adapters is None
    before = stream.rows()
    keep_adapters(made, "m", {"a-0": known["a-1"]})
    assert PairStream.open(made, ENCODER, SETTINGS, taught="m").rows() != before


def test_captions_are_dropped_and_first_frames_varied_by_the_samples_seed(catalog):
    stream = PairStream.open(catalog, ENCODER, SETTINGS)
    batch = stream.batch(range(200))
    dropped = (batch.text_embeddings[:, 0, 0] == -1).float().mean()
    assert 0.35 < dropped < 0.65
    targets = torch.tensor([number_of(pair.split("<-")[0]) for pair in batch.pair_ids])
    variants = batch.first_frame_latents[:, 0, 0, 0].float() - targets
    assert set(variants.tolist()) == {1.0, 2.0}
    never = PairStream.open(catalog, ENCODER, PairSettings(seed=5, caption_dropout=0.0)).batch(range(200))
    assert not (never.text_embeddings == -1).any()
    assert torch.equal(never.target_latents, batch.target_latents)


def test_ray_delivers_the_plan_in_its_order_over_several_windows(ray_cluster, catalog):
    stream = PairStream.open(catalog, ENCODER, SETTINGS, window=3)
    plan = [[8 * step + i for i in range(4)] for step in range(7)]
    delivered = list(stream(plan))
    assert len(delivered) == 7
    for numbers, batch in zip(plan, delivered, strict=True):
        assert_same(batch, stream.batch(numbers))


def test_a_sample_is_the_same_for_any_number_of_workers_and_any_start(ray_cluster, catalog):
    stream = pickle.loads(pickle.dumps(PairStream.open(catalog, ENCODER, SETTINGS)))
    one = list(stream([[4 * step + i for i in range(4)] for step in range(4)]))
    ranks = [
        list(stream([[4 * step + 2 * rank + i for i in range(2)] for step in (2, 3)])) for rank in (0, 1)
    ]
    for step in (2, 3):
        for rank in (0, 1):
            assert_same(ranks[rank][step - 2], one[step].select([2 * rank, 2 * rank + 1]))


def test_an_endless_plan_is_read_only_as_far_as_windows_reach_and_can_be_left(ray_cluster, catalog):
    asked = []

    def endless():
        step = 0
        while True:
            asked.append(step)
            yield [2 * step, 2 * step + 1]
            step += 1

    stream = PairStream.open(catalog, ENCODER, SETTINGS, window=4)
    batches = stream(endless())
    assert len(list(islice(batches, 5))) == 5
    batches.close()
    assert len(asked) <= 3 * 4 + 1


def test_batches_of_different_sizes_keep_their_samples(ray_cluster, catalog):
    stream = PairStream.open(catalog, ENCODER, SETTINGS)
    plan = [[0, 1, 2], [3], [4, 5]]
    assert [batch.pair_ids for batch in stream(plan)] == [stream.batch(numbers).pair_ids for numbers in plan]


def test_an_empty_plan_delivers_nothing(catalog):
    assert list(PairStream.open(catalog, ENCODER, SETTINGS)([])) == []


def test_the_snapshot_decides_not_what_came_later(catalog):
    before = PairStream.open(catalog, ENCODER, SETTINGS).batch(range(6))
    live = Catalog.open(catalog.uri)
    live.upsert("clips", [{"clip_id": "a-9", "status": "accepted", "category_id": "a", "split": "train"}])
    live.upsert("features", [feature("a-9", 9)])
    assert_same(PairStream.open(catalog, ENCODER, SETTINGS).batch(range(6)), before)
    assert PairStream.open(live, ENCODER, SETTINGS).plan.epoch_size == 11


def test_a_shorter_reference_is_padded_and_masked(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    rows = [
        {"clip_id": c, "status": "accepted", "category_id": "a", "split": "train"} for c in ("long", "short")
    ]
    catalog.upsert("clips", rows)
    catalog.upsert("features", [feature("long", 1), feature("short", 2, frames=2)])
    stream = PairStream.open(catalog, ENCODER, PairSettings(caption_dropout=0.0))
    n = next(n for n in range(2) if stream.plan.pair(n).target_id == "long")
    batch = stream.batch([n])
    assert batch.references.mask[0, :, 0, 0].tolist() == [True, True, False]
    assert (batch.references.latents[0, 2] == 0).all()


def test_features_of_another_encoder_are_refused_before_anything_starts(catalog):
    with pytest.raises(NothingEncoded, match="video2lora encode"):
        PairStream.open(catalog, "0" * 64, SETTINGS)


def test_a_plan_without_pairs_is_refused_before_anything_starts(catalog):
    with pytest.raises(NoPairs, match="other split: 10"):
        PairStream.open(catalog, ENCODER, PairSettings(splits=("ood",)))


def test_a_held_out_category_is_meant_in_any_spelling_and_refused_where_nothing_is_called_that(catalog):
    without = PairStream.open(catalog, ENCODER, PairSettings(held_out_categories=("B it",)))
    assert {clip[0] for clip in without.plan.clip_ids.tolist()} == {"a"}
    with pytest.raises(UnknownCategory, match=r"`pairs.held_out_categories` names 'melt'.*: 'a', 'b'"):
        PairStream.open(catalog, ENCODER, PairSettings(held_out_categories=("melt",)))


def test_an_error_while_fetching_reaches_the_one_who_asks(ray_cluster, catalog):
    stream = PairStream.open(catalog, ENCODER, SETTINGS)
    stream.plan.clip_ids[-1] = "b-7"
    with pytest.raises(Exception, match="such as b-7"):
        list(stream([list(range(10))]))


def _consume(config: dict) -> None:
    """A training function: streams this rank's samples and reports which pairs and sums it saw."""
    from ray import train

    rank, world = train.get_context().get_world_rank(), train.get_context().get_world_size()
    plan = ([4 * step + 2 * rank + i for i in range(2)] for step in range(6))
    seen = [(batch.pair_ids, batch.target_latents.float().sum().item()) for batch in config["stream"](plan)]
    train.report({"world": world})
    (config["folder"] / f"rank-{rank}").write_text(json.dumps(seen))


@pytest.mark.slow
def test_train_workers_that_fill_the_machine_still_get_their_batches(ray_cluster, catalog, tmp_path):
    stream = PairStream.open(catalog, ENCODER, SETTINGS, window=2)
    trainer = TorchTrainer(
        _consume,
        train_loop_config={"stream": stream, "folder": tmp_path},
        # 3.6 of the fixture's 4 logical CPUs: the tasks of both ranks have to fit beside them.
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1.8}),
        run_config=RunConfig(name="stream", storage_path=str(tmp_path / "ray")),
    )
    trainer.fit()
    for rank in (0, 1):
        seen = json.loads((tmp_path / f"rank-{rank}").read_text())
        expected = [stream.batch([4 * step + 2 * rank + i for i in range(2)]) for step in range(6)]
        assert [pairs for pairs, _ in seen] == [batch.pair_ids for batch in expected]
        assert [total for _, total in seen] == [b.target_latents.float().sum().item() for b in expected]


def test_what_fails_in_a_task_and_needs_a_person_reaches_training_as_its_one_sentence(ray_cluster, catalog):
    """The plan was made of another snapshot, in which the clips had features."""
    bare = Catalog.open(catalog.uri)
    planned = PairStream.open(catalog, ENCODER, SETTINGS)
    stream = PairStream(bare.at(bare.snapshot()), "e" * 64, SETTINGS)
    stream.__dict__["plan"] = planned.plan
    stream.__dict__["_batches_per_task"] = lambda batch_size: 1
    with pytest.raises(NoBatch, match=r"^\d+ clips have no features of encoder eeeeeeeeeeee"):
        next(stream(iter([[0, 1]])))
