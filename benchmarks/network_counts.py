"""Memory, floating point operations and memory traffic of a training step, counted without doing it.

The step runs on PyTorch's fake tensors: they have a shape and a type, and no values, so that a step of
gigabytes and of tera-operations is followed in seconds on any machine.

Counted are the bytes of tensors: parameters, buffers, gradients, Adam's moments, the batch, and every
result from its birth to the death of its last user. Not counted is what no tensor holds: workspaces of the
convolutions, what the allocator rounds up or cannot use, and the GPU's context (about 0.5 GB). The kernels
followed are the CPU's: on CUDA the mask of a dropout takes a byte per value instead of four.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
# These hand out memory and neither read nor write it.
ALLOCATING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}


class Step(Protocol):
    """One training step in two halves, on a network and an optimiser of its own."""

    network: nn.Module
    optimizer: torch.optim.Optimizer

    def batch(self) -> tuple[Tensor, ...]: ...
    def forward(self) -> Tensor: ...
    def update(self, loss: Tensor) -> None: ...


@dataclass(frozen=True)
class Count:
    """What one training step takes.

    Attributes:
        state: Bytes that stay between steps: parameters, buffers, gradients and the optimiser's moments.
        kept: Bytes between forward and backward, on top of the state and the batch: what backward needs.
        peak: Most bytes at any time of the step, everything included.
        flops: Floating point operations of convolutions and matrix products, forward and backward; a
            multiplication and its addition are two.
        moved: Bytes that all operations read and write, each input and each result once.
    """

    state: int
    kept: int
    peak: int
    flops: int
    moved: int


class Counter(TorchDispatchMode):
    """Follows every operation: which storages live, what is computed, what is read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = self.flops = self.moved = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def hold(self, *tensors: Tensor) -> None:
        """Count the memory of these tensors until it is given back."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._alive:
                self._alive[key] = weakref.ref(storage, lambda _, key=key, size=size: self._free(key, size))
                self.held += size
        self.peak = max(self.peak, self.held)

    def _free(self, key: int, size: int) -> None:
        del self._alive[key]
        self.held -= size

    def __torch_dispatch__(
        self,
        function: OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        read, given = tensors_in((args, kwargs)), tensors_in(result)
        self.hold(*given)
        self.flops += flops_of(function.overloadpacket, args, kwargs, result)
        if function.namespace == "aten" and function.overloadpacket not in ALLOCATING:
            self.moved += bytes_moved(function, args, read, given)
        return result


def tensors_in(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def flops_of(packet: OpOverloadPacket, args: tuple[Any, ...], kwargs: dict[str, Any], result: object) -> int:
    """Count by PyTorch's own formulas; only the gradients of a convolution in groups are wrong there."""
    if packet == aten.convolution_backward:
        gradient, image, weight = args[:3]
        transposed, wanted = args[7], args[10]
        # The gradients by image and by weight take as many products each as the convolution itself.
        return 2 * (image if transposed else gradient).numel() * weight[0].numel() * sum(wanted[:2])
    return flop_registry[packet](*args, **kwargs, out_val=result) if packet in flop_registry else 0


def bytes_moved(function: OpOverload, args: tuple[Any, ...], read: list[Tensor], given: list[Tensor]) -> int:
    """Each input once and each result once; a view moves nothing."""
    inputs = {tensor.untyped_storage()._cdata for tensor in read}
    fresh = [tensor for tensor in given if tensor.untyped_storage()._cdata not in inputs]
    changed = [
        tensor
        for argument, value in zip(function._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
        for tensor in tensors_in(value)
    ]
    return sum(map(bytes_of, (*read, *fresh, *changed))) if fresh or changed else 0


def bytes_of(tensor: Tensor) -> int:
    # An expanded tensor shows more values than its memory holds.
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


@contextmanager
def without_values(network: nn.Module) -> Iterator[nn.Module]:
    """Give a copy of the network on fake tensors; what is made inside the block is fake too."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        with FakeCopyMode(mode):
            twin = copy.deepcopy(network)
        yield twin


def count(step: Step) -> Count:
    """Follow one step in the middle of a training: gradients and moments of the last one are there."""
    for parameter in step.network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    step.optimizer.step()
    state = [*step.network.parameters(), *step.network.buffers(), *tensors_in(step.optimizer.state_dict())]
    state += [parameter.grad for parameter in step.network.parameters() if parameter.grad is not None]
    counter = Counter()
    counter.hold(*state)
    lasting = counter.held
    counter.hold(*step.batch())
    before = counter.held
    del state
    with counter:
        loss = step.forward()
        kept = counter.held - before
        step.update(loss)
    return Count(lasting, kept, counter.peak, counter.flops, counter.moved)


def counted(network: nn.Module, make_step: Callable[[nn.Module], Step]) -> Count:
    """Count the step that ``make_step`` makes of a network, without arithmetic."""
    with without_values(network) as twin:
        return count(make_step(twin))
