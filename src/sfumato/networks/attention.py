"""Attention layers that several transformers share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class AttentionShape:
    """The sizes of a transformer layer."""

    width: int  # feature channels, a multiple of ``heads``
    heads: int  # attention heads
    mlp_width: int  # hidden width of the perceptrons
    dropout: float  # dropout probability of attention and perceptrons


class SelfAttention(nn.Module):
    """Multi-head self-attention over ``(B, tokens, width)``, queries, keys and values without bias.

    The attention weights and the result are dropped out.
    """

    def __init__(self, shape: AttentionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.weight_dropout = shape.dropout
        self.queries_keys_values = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.projection = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Mix the tokens; ``bias``, ``(tokens, tokens)``, is added to every head's scores."""
        parts = self.queries_keys_values(tokens).chunk(3, dim=-1)
        queries, keys, values = (split_heads(part, self.heads) for part in parts)
        mixed = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if bias is None else bias.to(queries.dtype),
            dropout_p=self.weight_dropout if self.training else 0.0,
        )
        result: Tensor = self.dropout(self.projection(join_heads(mixed)))
        return result


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Split the heads: ``(B, tokens, width)`` to ``(B, heads, tokens, width / heads)``."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """Join the heads: ``(B, heads, tokens, width / heads)`` to ``(B, tokens, width)``."""
    return tokens.transpose(1, 2).flatten(2)


def perceptron(shape: AttentionShape) -> nn.Sequential:
    """Build two linear layers with GELU between them and dropout after each."""
    return nn.Sequential(
        nn.Linear(shape.width, shape.mlp_width),
        nn.GELU(),
        nn.Dropout(shape.dropout),
        nn.Linear(shape.mlp_width, shape.width),
        nn.Dropout(shape.dropout),
    )


def channel_norm(features: Tensor, weight: Tensor | None = None) -> Tensor:
    """Layer-normalise ``(B, C, *S)`` over its channels, voxel by voxel."""
    last = features.movedim(1, -1)
    return functional.layer_norm(last, (features.shape[1],), weight).movedim(-1, 1)


class DropPath(nn.Module):
    """Drop a residual branch per sample in training, and scale the kept ones so that the mean stays."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch ``(B, ...)``, or zeros where it is dropped."""
        if not self.training or self.probability == 0:
            return branch
        kept = torch.rand(len(branch), device=branch.device) >= self.probability
        scale = kept.to(branch.dtype) / (1 - self.probability)
        return branch * scale.view(-1, *[1] * (branch.ndim - 1))
