"""The rollout of an AdaLN predictor with its weights folded, so that nothing is computed twice: faster, and equal."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.accelerate.graphed import GraphedCallable
from lewm_cli.accelerate.packed_linear import PackedLinear
from lewm_cli.model import ActionEncoder, Attention, ConditionalBlock, Imaginer, Predictor, Projector

AT_ONCE = {"cpu": 512, "cuda": 16384, "mps": 4096}
"""Sequences imagined together, by device: bounds the memory; on a CPU, what one product leaves is in the cache."""


def fast_rollout(
    predictor: Predictor,
    action_encoder: ActionEncoder,
    projector: Projector,
    dtype: torch.dtype = torch.float32,
    history: int | None = None,
) -> Imaginer:
    """Returns a rollout that imagines part by part, with folded weights, and as recorded graphs where a device records.

    It keeps to the weights as they are now, and can be differentiated with respect to its inputs.

    Args:
        predictor: of latents.
        action_encoder: embeds action blocks.
        projector: makes latents of the predictor's output.
        dtype: of the products; what is between them is as precise as the latents.
        history: steps that are looked back at, at most as many as the predictor has learned; all of them if not given.
    """
    # What is made in inference mode could not be part of a gradient.
    with torch.inference_mode(False), torch.no_grad():
        history = history or predictor.pos_embedding.shape[1]
        recorded = GraphedCallable(_Folded(predictor, action_encoder, projector, dtype, history))

    def imagine(emb: Tensor, blocks: Tensor) -> Tensor:
        parts = math.ceil(len(emb) / AT_ONCE[emb.device.type]) or 1
        return torch.cat(list(map(recorded, emb.tensor_split(parts), blocks.tensor_split(parts))))

    return imagine


class _Folded:
    """The rollout of a predictor with its weights as they are now, in eval mode; see `fast_rollout`.

    Scales and shifts are folded into the products next to them, and products without anything between them into one.
    Keys and values of steps are kept while the window grows. Once it slides, every step of it moves to another position
    and is computed anew. Of the last block only the last step is asked for. In all tensors inside, steps come first.
    """

    def __init__(
        self,
        predictor: Predictor,
        action_encoder: ActionEncoder,
        projector: Projector,
        dtype: torch.dtype,
        history: int,
    ) -> None:
        transformer = predictor.transformer
        self.history = history
        self.positions = predictor.pos_embedding.detach().transpose(0, 1).clone()
        self.enter = None
        smooth, (first, _, second) = action_encoder.patch_embed, action_encoder.embed
        expand = PackedLinear.of(first).after(PackedLinear(smooth.weight[..., 0], smooth.bias))
        embed = PackedLinear.of(second)
        first, norm, _, second = projector.net
        shrink = PackedLinear.of(first).before_norm(norm)
        if isinstance(transformer.input_proj, nn.Linear):
            self.enter = PackedLinear.of(transformer.input_proj).copy(dtype)
            self.positions = F.linear(self.positions, transformer.input_proj.weight)
            embed = PackedLinear.of(transformer.cond_proj).after(embed)
            shrink = shrink.after(PackedLinear.of(transformer.output_proj))
        self.expand, self.embed = expand.copy(dtype), embed.copy(dtype)
        self.blocks = tuple(_Block(layer, dtype) for layer in transformer.layers)
        self.shrink = shrink.after_norm(transformer.norm).copy(dtype)
        self.project = PackedLinear.of(second).copy(dtype)

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and action blocks (N, T, block_dim) to latents (N, T + 1, D), see `rollout`."""
        latents, steps = list(emb.unbind(dim=1)), blocks.transpose(0, 1).contiguous()
        condition = F.silu(self.embed(F.silu(self.expand(steps))))
        modulations = [block.modulations(condition, emb.dtype) for block in self.blocks]
        memories: list[Tensor | None] = [None] * len(self.blocks)
        known = 0  # steps that are remembered, at the positions that they have now
        for end in range(len(latents), len(steps) + 1):
            begin = max(0, end - self.history)
            if begin > 0:
                known, memories = begin, [None] * len(self.blocks)
            x = torch.stack(latents[known:end])
            x = (x if self.enter is None else self.enter(x)) + self.positions[known - begin : end - begin]
            for depth, block in enumerate(self.blocks):
                modulation = [part[known:end] for part in modulations[depth]]
                x, memories[depth] = block(x, modulation, memories[depth], last=block is self.blocks[-1])
            known = end
            latents.append(self.project(self.shrink.gelu(F.layer_norm(x[-1], x.shape[-1:]))).to(emb.dtype))
        return torch.stack(latents, dim=1)


class _Block:
    """A conditional block with folded weights."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(layer, ConditionalBlock)
        modulation = PackedLinear.of(layer.adaLN_modulation[1])
        assert modulation.bias is not None
        width = len(modulation.bias) // 6
        bias = modulation.bias.clone()
        bias[width : 2 * width] += 1  # inputs are scaled by 1 + scale
        bias[4 * width : 5 * width] += 1
        self.modulate = PackedLinear(modulation.weight, bias).copy(dtype)
        self.attention = _Attention(layer.attn, dtype)
        norm, first, _, _, second, _ = layer.mlp.net
        self.first = PackedLinear.of(first).after_norm(norm).copy(dtype)
        self.second = PackedLinear.of(second).copy(dtype)

    def modulations(self, condition: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Activated action embeddings (T, N, E) to shift, scale and gate of attention and of the MLP (T, N, width)."""
        return [part.to(dtype) for part in self.modulate(condition).chunk(6, dim=-1)]

    def __call__(
        self, x: Tensor, modulation: list[Tensor], memory: Tensor | None, *, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Tokens (T, N, width), or only the last of them (1, N, width), and the memory with them."""
        shift, scale, *_ = modulation
        seen = _modulated(x, shift, scale)
        new = self.attention.remember(seen)
        memory = new if memory is None else torch.cat([memory, new])
        if last:
            x, seen, *modulation = (part[-1:] for part in (x, seen, *modulation))
        _, _, gate, shift_mlp, scale_mlp, gate_mlp = modulation
        x = torch.addcmul(x, gate, self.attention(seen, memory).to(x.dtype))
        hidden = self.first.gelu(_modulated(x, shift_mlp, scale_mlp))
        return torch.addcmul(x, gate_mlp, self.second(hidden).to(x.dtype)), memory


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    width = x.shape[-1:]
    return torch.layer_norm(torch.addcmul(shift, torch.layer_norm(x, width, eps=1e-6), scale), width)


class _Attention:
    """Causal attention to a memory of keys and values.

    Where a head is wider than a token, the tokens are their own keys and values: the matrices that make keys of them
    are folded into the queries', and those that make values of them into the output's.
    """

    def __init__(self, layer: Attention, dtype: torch.dtype) -> None:
        self.heads = layer.heads
        output, norm = PackedLinear.of(layer.to_out[0]), layer.norm
        out = output.weight.view(len(output.weight), self.heads, -1).transpose(0, 1)  # (heads, width, head)
        query, key, value = layer.to_qkv.weight.view(3, self.heads, -1, len(norm.bias))  # (heads, head, width)
        query = query * query.shape[1] ** -0.5
        # What the norm's shift adds to a key changes all scores alike; what it adds to a value is the same for all.
        shift, bias = query @ norm.bias, (out @ (value @ norm.bias)[..., None]).sum(dim=0)[:, 0] + output.bias
        query, key, value = (part * norm.weight for part in (query, key, value))
        through = out @ value
        if key.shape[2] <= key.shape[1]:
            query, shift, out = key.mT @ query, (key.mT @ shift[..., None])[..., 0], through
            remembered = torch.eye(key.shape[2], device=key.device).expand(self.heads, -1, -1)
        else:
            remembered = torch.cat([key, value])
        self.query = PackedLinear(query.flatten(0, 1), shift.flatten()).copy(dtype)
        self.remember = PackedLinear(remembered.flatten(0, 1)).copy(dtype)
        self.output = PackedLinear(out.transpose(0, 1).flatten(1), bias).copy(dtype)
        self.alone = PackedLinear(through.sum(dim=0), bias).copy(dtype)

    def __call__(self, seen: Tensor, memory: Tensor) -> Tensor:
        """Attention of the last T of the steps in memory, (T, N, width) to the same."""
        earlier, attended = len(memory) - len(seen), []
        if earlier == 0:  # the first step has nothing to choose from
            attended, seen, earlier = [self.alone(seen[:1])], seen[1:], 1
        if len(seen):
            queries = self.query(seen).view(*seen.shape[:2], self.heads, -1)
            parts = memory.view(*memory.shape[:2], -1, *queries.shape[2:])
            keys, values = parts[:, :, 0], parts[:, :, -1]  # which may be the same
            mixed = [
                _mixed(query, keys[:until], values[:until]) for until, query in enumerate(queries, start=earlier + 1)
            ]
            attended.append(self.output(torch.stack(mixed).flatten(2)))
        return torch.cat(attended) if len(attended) > 1 else attended[0]


def _mixed(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    # Step by step: attention kernels are made for long sequences.
    weights = (query * keys).sum(dim=-1, keepdim=True).softmax(dim=0)
    mixed = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        mixed = torch.addcmul(mixed, weight, value)
    return mixed
