"""Each metric, held to a plain definition and to others' implementations on random weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from training.evaluation import aesthetic, consistency, dynamic_degree, i3d, similarity, smoothness
from training.evaluation.weights import BadWeights, Unavailable, find_weights, load_tensors


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def flow(pairs: int, moving: int, share: float, speed: float, size: int = 40) -> torch.Tensor:
    """`moving` pairs in which a share of the pixels moves, to the left and down, at a speed."""
    found = torch.zeros(pairs, 2, size, size)
    count = round(share * size * size)
    for pair in range(moving):
        found[pair].flatten(1)[:, :count] = torch.tensor([[-0.6 * speed], [0.8 * speed]])
    return found


def test_a_clip_is_dynamic_when_a_quarter_of_its_sampled_frames_move():
    threshold = 6 * 40 / 256
    fast = {"share": 0.05, "speed": threshold * 1.01}
    # 49 sampled frames: round(4 · 49 / 16) = 12 pairs of 48.
    assert dynamic_degree.is_dynamic(flow(48, 12, **fast), frames=49)
    assert not dynamic_degree.is_dynamic(flow(48, 11, **fast), frames=49)
    assert not dynamic_degree.is_dynamic(flow(48, 48, 0.05, threshold * 0.99), frames=49)
    # Half of what counts moves, so that its mean is half as fast.
    assert not dynamic_degree.is_dynamic(flow(48, 48, 0.025, threshold * 1.5), frames=49)


def test_flow_is_looked_at_eight_times_a_second():
    assert list(dynamic_degree.sampled(9, 8)) == list(range(9))
    assert list(dynamic_degree.sampled(9, 24)) == [0, 3, 6]
    assert list(dynamic_degree.sampled(9, 16)) == [0, 2, 4, 6, 8]


def test_raft_sees_which_way_a_picture_moved_as_torchvision_alone_does(tmp_path):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    theirs = raft_large(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "raft.safetensors")
    ours = dynamic_degree.load_raft(tmp_path / "raft.safetensors")
    frames = torch.from_numpy(noise(3, 128, 136, 3))
    pixels = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = theirs(pixels[:2], pixels[1:], num_flow_updates=20)[-1]
    found = dynamic_degree.flows(ours, frames)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    small = dynamic_degree.flows(ours, frames[:2, :50, :70])
    assert small.shape == (1, 2, 50, 70), "what is padded for RAFT is cut off again"


def test_smoothness_is_how_far_odd_frames_are_from_what_their_neighbours_say():
    frames = noise(5, 8, 8, 3)
    guesses = [(frames[i - 1].astype(int) + frames[i + 1] + 1) // 2 for i in (1, 3)]
    errors = [np.abs(guess - frames[i]).mean() for guess, i in zip(guesses, (1, 3), strict=True)]
    expected = (255 - np.mean(errors)) / 255
    assert smoothness.smoothness(frames, smoothness.blend) == pytest.approx(expected)
    assert smoothness.smoothness(frames[:2], smoothness.blend) == 1
    even = smoothness.smoothness(noise(4, 8, 8, 3), smoothness.blend)
    assert even == pytest.approx(smoothness.smoothness(noise(4, 8, 8, 3)[:3], smoothness.blend))


def test_what_moves_evenly_is_smoother_to_an_interpolator_that_follows_it():
    y, x = np.mgrid[0:64, 0:96]
    moving = [
        np.repeat(255 * np.exp(-((x - 20 - 4 * t) ** 2 + (y - 32) ** 2) / 60)[..., None], 3, 2).astype(
            np.uint8
        )
        for t in range(7)
    ]
    followed = smoothness.smoothness(np.stack(moving), smoothness.dis_flow)
    assert followed > smoothness.smoothness(np.stack(moving), smoothness.blend)
    still = np.repeat(noise(1, 64, 96, 3), 5, axis=0)
    assert smoothness.smoothness(still, smoothness.dis_flow) == pytest.approx(1, abs=0.004)
    assert smoothness.dis_flow(noise(8, 8, 3), noise(8, 8, 3, seed=1)).shape == (8, 8, 3)


def test_consistency_is_the_mean_cosine_with_the_frame_before_and_the_first_and_never_less_than_none():
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for t in range(1, 6):
        for other in (vectors[t - 1], vectors[0]):
            total += max(0.0, float(F.cosine_similarity(vectors[t], other, dim=0))) / 2
    assert consistency.consistency(vectors) == pytest.approx(total / 5, rel=1e-5)
    assert consistency.consistency(vectors[:1]) == 1


def test_dino_reads_whole_pictures_and_from_a_safetensors_file(tmp_path):
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    save_file(theirs.state_dict(), tmp_path / "dino.safetensors")
    ours = consistency.load_dino(tmp_path / "dino.safetensors")
    frames = torch.from_numpy(noise(1, 224, 224, 3))
    mean, deviation = (
        torch.tensor(each)[:, None, None] for each in (consistency.MEAN, consistency.DEVIATION)
    )
    with torch.no_grad():
        expected = theirs((frames.permute(0, 3, 1, 2) / 255 - mean) / deviation)
    torch.testing.assert_close(consistency.frame_vectors(ours, frames), expected, rtol=1e-3, atol=1e-4)
    assert consistency.dino_pixels(torch.from_numpy(noise(1, 480, 832, 3))).shape[-2:] == (224, 384)


def test_aesthetic_is_the_mean_of_a_linear_head_on_unit_vectors_over_ten():
    head = nn.Linear(768, 1)
    frames = torch.from_numpy(noise(3, 60, 90, 3))
    project = torch.randn(3 * 224 * 224, 768, generator=torch.Generator().manual_seed(0))

    def encode(pixels):
        return pixels.flatten(1) @ project

    expected = []
    for frame in frames:
        pixels = F.interpolate(
            frame.permute(2, 0, 1)[None] / 255, size=(224, 336), mode="bicubic", align_corners=False
        )[..., 56:280]
        pixels = (pixels[0] - torch.tensor(aesthetic.MEAN)[:, None, None]) / torch.tensor(
            aesthetic.DEVIATION
        )[:, None, None]
        vector = encode(pixels[None])[0]
        expected.append(head(vector / vector.norm()).item() / 10)
    assert aesthetic.aesthetic(frames, encode, head) == pytest.approx(np.mean(expected), abs=1e-5)


def test_clip_similarities_are_cosines():
    draw = torch.Generator().manual_seed(0)
    clip, other, text = (torch.randn(*shape, generator=draw) for shape in ((4, 6), (5, 6), (6,)))
    unit = [F.normalize(each, dim=-1).mean(0) for each in (clip, other)]
    expected = float(unit[0] @ unit[1] / (unit[0].norm() * unit[1].norm()))
    assert similarity.to_reference(clip, other) == pytest.approx(expected)
    assert similarity.to_reference(clip, clip) == pytest.approx(1)
    expected = np.mean([float(F.cosine_similarity(frame, text, dim=0)) for frame in clip])
    assert similarity.to_prompt(clip, text) == pytest.approx(expected)


def test_torchmetrics_finds_the_same_clip_score_of_frames_and_words():
    """Its CLIPScore is 100 max(cosine, 0)."""
    from torchmetrics.functional.multimodal.clip_score import _clip_score_update

    class Towers(nn.Module):
        """Two linear towers of random weights, called as transformers' CLIP is."""

        def __init__(self):
            super().__init__()
            self.seen, self.said = nn.Linear(3 * 16 * 16, 8), nn.Embedding(40, 8)

        def get_image_features(self, pictures):
            return self.seen(pictures.flatten(1))

        def get_text_features(self, words, _):
            return self.said(words).mean(1)

    def prepare(text=None, images=None, **_):
        if images is not None:
            return {"pixel_values": torch.stack([image.float() / 255 for image in images])}
        words = torch.tensor([[len(word) for word in each.split()] for each in text])
        return {"input_ids": words, "attention_mask": torch.ones_like(words)}

    towers = Towers()
    towers.config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=77))
    frames, words = [torch.from_numpy(noise(3, 16, 16, seed=n)) for n in range(3)], ["it melts"] * 3
    with torch.no_grad():
        theirs, _ = _clip_score_update(frames, words, towers, prepare)
        seen = towers.get_image_features(prepare(images=frames)["pixel_values"])
        said = towers.get_text_features(prepare(text=words)["input_ids"], None)[0]
    ours = [100 * similarity.to_prompt(frame[None], said) for frame in seen]
    assert ours == pytest.approx(theirs.tolist(), abs=1e-3)


def random_i3d(folder):
    torch.manual_seed(0)
    model = i3d.I3D().eval()
    save_file(model.state_dict(), folder / "i3d.safetensors")
    return model, folder / "i3d.safetensors"


def test_i3d_is_read_from_a_file_and_gives_four_hundred_logits_of_ten_frames(tmp_path):
    made, file = random_i3d(tmp_path)
    names = set(made.state_dict())
    assert {"Conv3d_1a_7x7.conv3d.weight", "Mixed_4f.b2b.bn.running_var", "logits.conv3d.bias"} <= names
    # Inception v1 inflated: 12.3 M weights with 400 classes (Carreira and Zisserman, table 1: 12 M).
    assert 12.2e6 < sum(p.numel() for p in made.parameters()) < 12.8e6
    clips = torch.from_numpy(noise(1, 10, 64, 96, 3))
    found = i3d.features(i3d.load_i3d(file), clips, "squash")
    assert found.shape == (1, 400) and found.isfinite().all()
    assert not torch.equal(found, i3d.features(made, clips, "crop")), "two preprocessings, two figures"
    with pytest.raises(ValueError, match="10 frames"):
        i3d.ready(clips[:, :9], "crop")


def test_padding_is_tensorflows_same():
    """An output is ⌈length / stride⌉ long, and the odd zero stands behind."""
    for length in (7, 8, 9, 10):
        x = torch.arange(1.0, length + 1).reshape(1, 1, 1, 1, length)
        padded = i3d.same(x, (1, 1, 3), (1, 1, 2))[0, 0, 0, 0]
        count = -(-length // 2)
        missing = (count - 1) * 2 + 3 - length
        zeros = [0.0] * (missing // 2), [0.0] * (missing - missing // 2)
        assert padded.tolist() == [*zeros[0], *range(1, length + 1), *zeros[1]]


def test_pictures_are_scaled_before_they_are_resized_and_cropped_in_the_middle():
    clips = torch.from_numpy(noise(1, 10, 112, 168, 3))
    squashed = i3d.ready(clips, "squash")
    frame = clips[0, 3].permute(2, 0, 1)[None].float() / 127.5 - 1
    expected = F.interpolate(frame, size=(224, 224), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(squashed[0, :, 3], expected)
    cropped = i3d.ready(clips, "crop")
    expected = F.interpolate(frame, size=(224, 336), mode="bilinear", align_corners=False)[0][..., 56:280]
    torch.testing.assert_close(cropped[0, :, 3], expected)
    tall = i3d.ready(torch.from_numpy(noise(1, 10, 300, 150, 3)), "crop")
    assert tall.shape == (1, 3, 10, 224, 224)


def test_weights_that_nobody_named_make_a_metric_unavailable_and_say_which_setting():
    with pytest.raises(Unavailable, match=r"no weights of I3D are set \(evaluate.i3d\)"):
        find_weights(None, "evaluate.i3d", "I3D")
    with pytest.raises(Unavailable, match="hub does not deliver"):
        find_weights("nobody/nothing-of-this-name", "evaluate.i3d", "I3D")


@pytest.mark.parametrize("name", ["i3d_torchscript.pt", "raft.pth", "head.bin", "model.pkl"])
def test_pickles_and_programs_are_refused_whether_they_are_there_or_not(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(BadWeights, match="safetensors files are read: others can run code"):
        find_weights(str(tmp_path / name), "evaluate.i3d", "I3D")


def test_weights_of_another_network_a_missing_and_a_torn_file_are_said_in_a_sentence(tmp_path):
    with pytest.raises(BadWeights, match="there is no file"):
        find_weights(str(tmp_path / "gone.safetensors"), "evaluate.i3d", "I3D")
    save_file({"weight": torch.zeros(1, 512), "bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    with pytest.raises(
        BadWeights, match=r"1 tensors differ, first 'weight', \(1, 512\) there and \(1, 768\)"
    ):
        aesthetic.load_head(tmp_path / "head.safetensors")
    with pytest.raises(BadWeights, match="does not hold I3D"):
        i3d.load_i3d(tmp_path / "head.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x08" + bytes(20))
    with pytest.raises(BadWeights, match="no readable safetensors"):
        load_tensors(nn.Linear(2, 2), tmp_path / "torn.safetensors", "a layer")
