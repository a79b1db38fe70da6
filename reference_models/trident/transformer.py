"""Denoising transformer f_theta: a DiT (Peebles and Xie 2023) whose blocks read the condition by cross-attention
(paper section 3.3).

Shapes: N images, C latent channels, S latent side, P patch, T = (S / P)^2 image tokens, K condition tokens, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_models.trident.config import TransformerConfig


class SelfAttention(nn.Module):
    """Multi-head attention of the image tokens among themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            _split(part, self.heads) for part in self.query_key_value(x).chunk(3, -1)
        )  # (N, heads, T, W/heads)
        return self.output(_merge(functional.scaled_dot_product_attention(query, key, value)))  # (N, T, W)


class CrossAttention(nn.Module):
    """Image tokens are the queries, condition tokens the keys and values.

    With one condition token the softmax has one entry, which is 1 whatever the query: every image token receives the
    same projected value. `exact_shortcut` computes just that; queries and keys then have no gradient, as they have
    none without it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.exact_shortcut = True
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (N, T, W), condition (N, K, W) -> (N, T, W), or (N, 1, W) by the shortcut, which broadcasts over T."""
        key, value = self.key_value(condition).chunk(2, -1)  # (N, K, W)
        if self.exact_shortcut and condition.shape[1] == 1:
            return self.output(value)
        query, key, value = (_split(part, self.heads) for part in (self.query(x), key, value))
        return self.output(_merge(functional.scaled_dot_product_attention(query, key, value)))


class Block(nn.Module):
    """Self-attention, cross-attention, MLP; each behind a layer norm and a residual connection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_self = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = SelfAttention(width, config.heads)
        self.norm_cross = nn.LayerNorm(width, eps=1e-6)
        self.cross_attention = CrossAttention(width, config.heads)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.mlp_ratio * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.mlp_ratio * width, width),
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = x + self.self_attention(self.norm_self(x))
        x = x + self.cross_attention(self.norm_cross(x), condition)
        return x + self.mlp(self.norm_mlp(x))


class StemBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity; the mean condition token scales and shifts what is between them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm_first = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_second = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(width, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (N, C, S, S), condition (N, K, W) -> (N, C, S, S)."""
        scale, shift = self.modulate(condition.mean(1))[:, :, None, None].chunk(2, 1)
        hidden = self.norm_second(self.first(functional.silu(self.norm_first(x)))) * (1 + scale) + shift
        return x + self.second(functional.silu(hidden))


class Stem(nn.Module):
    """Convolutions at the latent's own resolution around the transformer, joined by a skip.

    A token is one patch, and a small transformer learns late how patches join: here each patch sees its neighbours
    before it becomes a token and after.
    """

    def __init__(self, config: TransformerConfig, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(config.latent_channels, channels, 3, padding=1)
        self.before = nn.ModuleList(StemBlock(channels, config.width) for _ in range(2))
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.after = nn.ModuleList(StemBlock(channels, config.width) for _ in range(2))
        self.norm = nn.GroupNorm(8, channels)
        self.leave = nn.Conv2d(channels, config.latent_channels, 3, padding=1)

    def open(self, latents: Tensor, condition: Tensor) -> Tensor:
        """Noisy latents (N, C, S, S) -> features (N, channels, S, S)."""
        x = self.enter(latents)
        for block in self.before:
            x = block(x, condition)
        return x

    def close(self, opened: Tensor, transformed: Tensor, condition: Tensor) -> Tensor:
        """What `open` gave and what the transformer made of it, each (N, channels, S, S) -> (N, C, S, S)."""
        x = self.join(torch.cat([opened, transformed], 1))
        for block in self.after:
            x = block(x, condition)
        return self.leave(functional.silu(self.norm(x)))


class DenoisingTransformer(nn.Module):
    """f_theta(X^t, z, t): the noise in a noisy latent."""

    positions: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = None if config.stem_width is None else Stem(config, config.stem_width)
        self.channels = config.latent_channels if config.stem_width is None else config.stem_width
        patch_values = self.channels * config.patch**2
        self.embed_patches = nn.Linear(patch_values, config.width)
        side = config.latent_size // config.patch
        self.register_buffer("positions", sincos_positions(side, config.width), persistent=False)  # (T, W), frozen
        self.encode_time = nn.Sequential(
            nn.Linear(config.time_features, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm_output = nn.LayerNorm(config.width, eps=1e-6)
        self.output = nn.Linear(config.width, patch_values)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier for every linear layer; the output starts at zero, so that training starts from predicting no
        noise."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        last = self.output if self.stem is None else self.stem.leave
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, latents: Tensor, z: Tensor, steps: Tensor) -> Tensor:
        """Predicted noise (N, C, S, S) for latents (N, C, S, S) at steps (N,) in 0..T-1, given z (N, K, W)."""
        condition = self.condition(z, steps)  # (N, K, W)
        opened = latents if self.stem is None else self.stem.open(latents, condition)
        x = self.embed_patches(patchify(opened, self.config.patch)) + self.positions  # (N, T, W)
        for block in self.blocks:
            x = block(x, condition)
        output = unpatchify(self.output(self.norm_output(x)), self.config.patch, self.channels)
        return output if self.stem is None else self.stem.close(opened, output, condition)

    def condition(self, z: Tensor, steps: Tensor) -> Tensor:
        """X_condition = z + X_time (Algorithm 1 line 19), the time embedding added to each of the K tokens."""
        time = self.encode_time(sinusoid(steps, self.config.time_features))[:, None]  # (N, 1, W)
        if self.config.normalise_condition:
            z, time = (functional.rms_norm(part, part.shape[-1:]) for part in (z, time))
        return z + time


def patchify(latents: Tensor, patch: int) -> Tensor:
    """(N, C, S, S) -> (N, T, C * P * P), rows first."""
    return functional.pixel_unshuffle(latents, patch).flatten(2).transpose(1, 2)


def unpatchify(tokens: Tensor, patch: int, channels: int) -> Tensor:
    """(N, T, C * P * P) -> (N, C, S, S); the inverse of `patchify`."""
    side = math.isqrt(tokens.shape[1])
    return functional.pixel_shuffle(tokens.transpose(1, 2).reshape(-1, channels * patch**2, side, side), patch)


def sinusoid(positions: Tensor, width: int) -> Tensor:
    """Sine and cosine features (..., width) of positions (...,), wavelengths 2 pi .. 10,000 x 2 pi (Vaswani et al.
    2017)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=positions.device) / (width // 2))
    angles = positions[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def sincos_positions(side: int, width: int) -> Tensor:
    """Position table (side * side, width): half of the features for the row, half for the column."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.cat([sinusoid(row.flatten(), width // 2), sinusoid(column.flatten(), width // 2)], -1)


def _split(x: Tensor, heads: int) -> Tensor:
    """(N, T, W) -> (N, heads, T, W / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    """(N, heads, T, W / heads) -> (N, T, W)."""
    return x.transpose(1, 2).flatten(2)
