"""What `RuntimeConfig` leaves open, on a CPU and on a GPU."""

import pytest
import torch

from rml_trainers.runtime.options import RuntimeConfig
from rml_trainers.students.device_defaults import loss_chunk_mib, what_is_recomputed


@pytest.mark.parametrize(
    ("runtime", "device", "dtype", "expected"),
    [
        (RuntimeConfig(), "cpu", torch.float32, "batchnorm"),
        (RuntimeConfig(), "cpu", torch.bfloat16, "none"),
        (RuntimeConfig(compile=True), "cpu", torch.float32, "none"),
        (RuntimeConfig(), "cuda", torch.float32, "none"),
        (RuntimeConfig(), "cuda", torch.bfloat16, "none"),
        (RuntimeConfig(activation_checkpointing="none"), "cpu", torch.float32, "none"),
        (RuntimeConfig(activation_checkpointing="batchnorm"), "cuda", torch.float32, "batchnorm"),
        (RuntimeConfig(activation_checkpointing="backbone"), "cuda", torch.bfloat16, "backbone"),
    ],
)
def test_what_is_recomputed(
    runtime: RuntimeConfig, device: str, dtype: torch.dtype, expected: str
) -> None:
    assert what_is_recomputed(runtime, torch.device(device), dtype) == expected


@pytest.mark.parametrize(("given", "on_cpu", "on_gpu"), [(None, 16, 0), (0, 0, 0), (5, 5, 5)])
def test_a_loss_takes_the_whole_batch_on_a_gpu_unless_told(
    given: int | None, on_cpu: int, on_gpu: int
) -> None:
    runtime = RuntimeConfig(loss_chunk_mib=given)
    assert loss_chunk_mib(runtime, torch.device("cpu")) == on_cpu
    assert loss_chunk_mib(runtime, torch.device("cuda")) == on_gpu


def test_a_chunk_of_negative_size() -> None:
    with pytest.raises(ValueError, match="loss_chunk_mib = -1: expected zero or more"):
        RuntimeConfig(loss_chunk_mib=-1)
