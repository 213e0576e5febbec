"""A stream of reference tokens beside a frozen CogVideoX: its embedding, its experts, one attention for both.

The blocks are those of diffusers' CogVideoX: norm1, attn1, norm2 and ff, each over text and video tokens.
"""

import copy
from typing import NamedTuple

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn
from torch.nn import functional as F

PARTS = ("norm1", "attn1", "norm2", "ff")
Rotary = tuple[Tensor, Tensor] | None


class Tokens(NamedTuple):
    """One stream between two blocks: video [B, N, D] and text [B, T, D], references one after another."""

    video: Tensor
    text: Tensor


class Beside(NamedTuple):
    """The reference stream as a block takes it.

    Attributes:
        tokens: of the references.
        time: embedding [B, E] of the timestep.
        rotary: cosines and sines of the video tokens.
        real: bool [B, 1, 1, tokens of both streams], False for padding; None where there is none.
    """

    tokens: Tokens
    time: Tensor
    rotary: Rotary
    real: Tensor | None


class ReferenceEmbedding(nn.Module):
    """Trainable copies of what makes tokens of latents and text, and of what embeds the timestep."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        # The table of positions is no weight, and large: one for both streams.
        table = getattr(transformer.patch_embed, "pos_embedding", None)
        self.patch_embed = copy.deepcopy(transformer.patch_embed, {id(table): table}).requires_grad_(True)
        self.time_embedding = copy.deepcopy(transformer.time_embedding).requires_grad_(True)

    def tokens(self, inputs: Tensor, texts: Tensor) -> Tokens:
        """Of inputs [B, R, F, channels, h, w] and texts [B, R, T, D]."""
        joint = self.patch_embed(texts.flatten(0, 1), inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        length = texts.shape[2]
        return Tokens(joint[:, :, length:].flatten(1, 2), joint[:, :, :length].flatten(1, 2))


class Expert(nn.Module):
    """A trainable copy of a frozen block, for the reference tokens.

    Args:
        block: what it begins as.
        last: no expert comes after it. The target reads its keys and values, nothing reads what it would make
            of the references themselves: those parts are there, frozen, and never computed.
    """

    def __init__(self, block: nn.Module, last: bool) -> None:
        super().__init__()
        self.last = last
        for part in PARTS:
            self.add_module(part, copy.deepcopy(getattr(block, part)).requires_grad_(True))
        if last:
            for unread in (self.attn1.to_q, self.attn1.norm_q, self.attn1.to_out, self.norm2, self.ff):
                unread.requires_grad_(False)


class JointBlock(nn.Module):
    """A frozen block and its expert: one attention over the tokens of both streams, all else apart."""

    def __init__(self, block: nn.Module, expert: Expert) -> None:
        super().__init__()
        self.block = block
        self.expert = expert

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary = None,
        attention_kwargs: dict | None = None,
        beside: Beside | None = None,
    ) -> tuple[Tensor, ...]:
        """Video and text after the block; with references beside them, theirs too."""
        if beside is None:
            return self.block(hidden_states, encoder_hidden_states, temb, image_rotary_emb, attention_kwargs)
        target, references = Tokens(hidden_states, encoder_hidden_states), beside.tokens
        last, count = self.expert.last, hidden_states.shape[1] + encoder_hidden_states.shape[1]
        *mine, gates = _prepared(self.block, target, temb, image_rotary_emb)
        *theirs, their_gates = _prepared(self.expert, references, beside.time, beside.rotary, asks=not last)
        query, key, value = (torch.cat(both, dim=2) for both in zip(mine, theirs, strict=True))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=beside.real)
        target = _finished(self.block, target, attended[:, :, :count], gates, temb)
        if not last:
            references = _finished(self.expert, references, attended[:, :, count:], their_gates, beside.time)
        return (*target, *references)


def _prepared(layer: nn.Module, tokens: Tokens, time: Tensor, rotary: Rotary, asks: bool = True) -> tuple:
    """Query, key and value [B, heads, text and video, head] of a stream, and the gates of its attention.

    A stream that asks nothing has queries of no token.
    """
    video, text, *gates = layer.norm1(*tokens, time)
    attn, length = layer.attn1, text.shape[1]
    both = torch.cat([text, video], dim=1)

    def heads(linear: nn.Module, norm: nn.Module | None, turned: bool) -> Tensor:
        split = linear(both).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        split = split if norm is None else norm(split)
        if not turned or rotary is None:
            return split
        return torch.cat([split[:, :, :length], apply_rotary_emb(split[:, :, length:], rotary)], dim=2)

    key = heads(attn.to_k, attn.norm_k, turned=True)
    query = heads(attn.to_q, attn.norm_q, turned=True) if asks else key[:, :, :0]
    return query, key, heads(attn.to_v, None, turned=False), gates


def _finished(
    layer: nn.Module, tokens: Tokens, attended: Tensor, gates: list[Tensor], time: Tensor
) -> Tokens:
    """A stream after its attention [B, heads, text and video, head] and its feed-forward."""
    length = tokens.text.shape[1]

    def added(tokens: Tokens, both: Tensor, gates: list[Tensor]) -> Tokens:
        video_gate, text_gate = gates
        return Tokens(
            tokens.video + video_gate * both[:, length:], tokens.text + text_gate * both[:, :length]
        )

    tokens = added(tokens, layer.attn1.to_out[0](attended.transpose(1, 2).flatten(2)), gates)
    video, text, *gates = layer.norm2(*tokens, time)
    return added(tokens, layer.ff(torch.cat([text, video], dim=1)), gates)
