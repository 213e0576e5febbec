"""What a run's module is made of: whose adapters it may learn to predict."""

from dataclasses import replace

import pytest
import torch

from tests.training.small_backbones import ADAPTERS, SMALL, build_method, disturb, load_backbone
from training.build import BuildMethod, Teacher, require_teacher
from training.methods.registry import parse_settings
from training.release import Release, ReleaseError, publish_tensors

BASELINE = parse_settings(ADAPTERS | {"kind": "category_lora"})


def released(folder, tmp_path, settings, seed: int = 0) -> Release:
    """A model that did not train."""
    backbone = load_backbone(folder)
    method = build_method(folder, settings, categories=("melt",), seed=seed)
    facts = {
        "method": settings.model_dump(mode="json"),
        "backbone": backbone.settings.model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder_id": backbone.encoder_id,
        "categories": ["melt"],
    }
    return publish_tensors(method.trainable_state(), tmp_path / "models", torch.bfloat16, facts)


def test_a_module_that_is_taught_has_the_teachers_matrices_and_trains_the_rest(tiny_folder, tmp_path):
    backbone = load_backbone(tiny_folder)
    shown = released(tiny_folder, tmp_path, BASELINE, seed=5)
    start = released(tiny_folder, tmp_path, SMALL, seed=6)
    teacher = Teacher("adapters", shown.path, spread=0.5)
    build = BuildMethod(backbone.settings, SMALL, start_from=start.path, teacher=teacher)
    made, plain = build.on(backbone), replace(build, teacher=None).on(load_backbone(tiny_folder))
    assert made.spread == 0.5
    now = dict(made.named_parameters())
    theirs = teacher.auxiliary()
    assert theirs and all(torch.equal(now[name], value) for name, value in theirs.items())
    # What is left to train, with the matrices, is a whole model of the method.
    assert made.trainable_state().keys() | theirs.keys() == plain.trainable_state().keys()
    assert all(
        torch.equal(value, plain.trainable_state()[name]) for name, value in made.trainable_state().items()
    )
    sizes = BuildMethod(backbone.settings, SMALL, teacher=Teacher("adapters")).on_meta(
        load_backbone(tiny_folder, ())
    )
    assert sizes.trainable_state().keys() == made.trainable_state().keys()


def test_a_teacher_of_another_backbone_or_of_other_sizes_is_refused(tiny_folder, tmp_path):
    backbone = load_backbone(tiny_folder, ())
    shown = released(tiny_folder, tmp_path, BASELINE)
    require_teacher(shown, backbone, SMALL)
    other = replace(shown, facts=shown.facts | {"transformer": "another"})
    with pytest.raises(
        ReleaseError, match=r"train.teacher names .* trained on another transformer.*train.teacher=null"
    ):
        require_teacher(other, backbone, SMALL)
    with pytest.raises(ReleaseError, match=r"with method.up_size=8, method.rank=1. Set the same"):
        require_teacher(shown, backbone, SMALL.model_copy(update={"up_size": 4, "rank": 2}))
    pictures = replace(shown, facts=shown.facts | {"method": {"kind": "video_as_prompt"}})
    with pytest.raises(ReleaseError, match=r"with method.down_size=None"):
        require_teacher(pictures, backbone, SMALL)


def test_a_start_with_other_auxiliary_matrices_than_the_teachers_is_refused(tiny_folder, tmp_path):
    backbone = load_backbone(tiny_folder)
    shown = released(tiny_folder, tmp_path, SMALL)
    require_teacher(shown, backbone, SMALL, start=shown)
    # Taught by it: another hypernetwork under the same matrices.
    method = disturb(build_method(tiny_folder, SMALL))
    method.load_trainable_state(method.trainable_state() | Teacher("m", shown.path).auxiliary())
    facts = {name: shown.facts[name] for name in ("method", "backbone", "transformer", "encoder_id")}
    student = publish_tensors(method.trainable_state(), tmp_path / "models", torch.bfloat16, facts)
    assert student.model_id != shown.model_id
    require_teacher(shown, backbone, SMALL, start=student)
    with pytest.raises(ReleaseError, match=r"auxiliary matrices are not those of .*train.start_from=null"):
        require_teacher(shown, backbone, SMALL, start=released(tiny_folder, tmp_path, SMALL, seed=9))
