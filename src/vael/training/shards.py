"""A model whose weights and moments are spread over the ranks, by torch's `fully_shard`, each holding a part of each.

A layer's weights are gathered while it computes and let go after it; its gradient is summed into the parts. What is
kept of a run is whole and in rank 0's own memory, so that it can be read, and gone on with, by any number of processes.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vael.training.ranks import Ranks

if TYPE_CHECKING:
    from vael.training.engine import Bound, Look

LEAST = 2**16  # numbers of a layer that is gathered by itself; smaller ones go together


class Shards:
    """The parts of `bound`, which it spreads over the ranks in place. Its parameters must be contiguous."""

    def __init__(self, bound: "Bound", ranks: Ranks) -> None:
        self.bound, self.ranks = bound, ranks
        for layer in list(bound.modules()):
            if not list(layer.children()) and sum(p.numel() for p in layer.parameters(recurse=False)) >= LEAST:
                layer.register_forward_hook(apart)
                fully_shard(layer)
        fully_shard(bound)
        self.parts: list[FSDPModule] = [part for part in bound.modules() if isinstance(part, FSDPModule)]
        self.forms: dict[str, Any] = dict(bound.model.named_parameters())

    def gradients(self, look: "Look", names: Sequence[str], *, precision: str) -> list[Tensor | None]:
        """This rank's parts of the gradient of minus the mean bound over all ranks' examples."""
        with torch.autocast(look.batch.x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = -self.bound(look.batch, look.noise).mean()
        loss.backward()
        learned = [self.forms[name] for name in names]
        found = [None if parameter.grad is None else local(parameter.grad) for parameter in learned]
        for parameter in learned:
            parameter.grad = None
        return found

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Every rank has all weights while the block lasts, to compute with and not to change."""
        for part in self.parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            for part in self.parts:
                part.reshard()
                part.set_reshard_after_forward(part not in self.parts[:1], recurse=False)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this rank's parts, made whole; on other ranks than 0 without values."""
        return {name: self._whole(name, tensor) for name, tensor in tensors.items()}

    def scattered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This rank's parts of whole tensors."""
        found = {}
        for name, tensor in tensors.items():
            form = self._form(name)
            if form is not None:
                there = tensor.to(form.device)
                tensor = local(distribute_tensor(there, form.device_mesh, form.placements, src_data_rank=None))
            found[name] = tensor
        return found

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        form = self._form(name)
        if form is None:
            return tensor
        shape: Any = form.shape
        own = DTensor.from_local(tensor, form.device_mesh, form.placements, shape=shape, stride=form.stride())
        whole = own.full_tensor()
        return whole.cpu() if self.ranks.first else whole.new_empty(0)

    def _form(self, name: str) -> Any:
        """The parameter that a tensor of a checkpoint, or of the weights, has the form of; None where it has none."""
        for prefix in ("model.", "optimizer.exp_avg.", "optimizer.exp_avg_sq.", ""):
            if name.startswith(prefix) and name.removeprefix(prefix) in self.forms:
                return self.forms[name.removeprefix(prefix)]
        return None


def apart(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """A layer's output in memory of its own: written into a view, torch would forget to gather for the gradient."""
    return output.clone() if output._is_view() else output


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a spread tensor, in the same memory; another tensor as it is."""
    found: Any = tensor.detach()
    part: Tensor = found.to_local() if isinstance(found, DTensor) else found
    return part


def norm(gradients: list[Tensor]) -> Tensor:
    """The root of the sum of squares of all parts on all ranks, 0-d."""
    squares = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    torch.distributed.all_reduce(squares)
    return squares.sqrt()
