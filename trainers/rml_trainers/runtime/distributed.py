"""The few collectives that training needs. Every function is a no-op in a single process.

None of them reads a value back to the host: on a GPU they are queued like any other kernel.
"""

import gc
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch import distributed as dist


def rank() -> int:
    """Number of this worker, 0 for the first or only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leave_group() -> None:
    """Take this worker's process group down. What trained in it must have been let go of before.

    A group that something still refers to (DDP, a cycle of references) ends with the interpreter
    instead, and one time in five its threads then abort the process: "terminate called without an
    active exception" (gloo, torch 2.15).
    """
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Sum in place over all workers."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def mean_over_workers(count: Tensor) -> Tensor:
    """Mean of a count over all workers: the total divided by their number.

    A local sum divided by this, averaged over workers as DDP averages gradients, is the mean over
    the global batch: workers that hold more valid pixels weigh more, and the number of workers does
    not change the loss.
    """
    if world_size() == 1:
        return count
    return sum_over_workers(count.clone()) / world_size()


def gathered(tensor: Tensor) -> Tensor:
    """Tensors of all workers [N, …], the same shape in each, one behind the other in the order of
    ranks."""
    if world_size() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite each tensor with rank 0's."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean of the gradients over all workers in one all-reduce, for networks outside the students'
    DDP wrapper."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(
        gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def average_buffers(module: nn.Module) -> None:
    """Mean of the floating-point buffers (BatchNorm's running statistics) over all workers, in one
    all-reduce.

    Afterwards all workers hold the same network, so that rank 0's checkpoint is the whole state.
    """
    if world_size() == 1:
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = torch.cat([buffer.detach().float().flatten() for buffer in buffers])
    dist.all_reduce(flat)
    flat /= world_size()
    for buffer, mean in zip(buffers, torch.split(flat, [b.numel() for b in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))
