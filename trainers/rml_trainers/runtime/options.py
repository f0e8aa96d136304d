"""RuntimeConfig: how a run is carried out, which decides its speed and memory and not its
result."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class RuntimeConfig:
    """How a run is carried out. Nothing here is part of the run id."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    log_every_steps: int = 20
    checkpoint_every_steps: int = 500
    num_read_ahead: int = 2
    """Batches that a background thread reads ahead (0: read in the step)."""
    threads: int | None = None
    """CPU threads of one worker; default: the cores given to it."""
    students: Literal["in_turn", "together", "streams"] = "in_turn"
    """`in_turn`: one student's forward and backward, then the other's, so that the activations of
    one are in memory at a time. `together`: both forwards, then both backwards, as public code has
    it. Weights are the same bits. `streams`: as `together`, with the students, and the networks
    that label, on a CUDA stream each; with one worker on a GPU, elsewhere the same as `together`.
    Not measured yet: it can only pay where one network leaves much of the GPU idle, and it needs
    the memory of both."""
    loss_chunk_mib: int | None = None
    """Float32 logits at pixel resolution that exist at once, at least those of one image (0: those
    of the whole batch, and they are kept for the backward pass); default: 16 on a CPU, 0 on a GPU,
    where it has not been measured. Gradients are the same up to rounding; see `pixel_losses.py`."""
    activation_checkpointing: Literal["auto", "none", "batchnorm", "backbone"] = "auto"
    """What the students compute again in the backward pass instead of keeping it; see
    `networks/accelerate`. `batchnorm`: what BatchNorm and its activation give; the same weights up
    to rounding (the same bits on the CPU measured). `backbone`: the blocks of the backbones; the
    same bits on a CPU. `auto`: `batchnorm` on a CPU in float32 without `compile`, else `none`; on a
    GPU nothing has been measured."""
    compile: bool = False
    """Run the networks of a step through `torch.compile` (results differ by rounding). Off, because
    it saved 8 % of the networks' time on tf_efficientnet_lite0 and 6 % on resnet18, and took as
    long as over a thousand steps to compile (one thread of an AMD EPYC, torch 2.15, November 2026;
    on a GPU not measured yet). With several workers, gradients are then exchanged only after a
    student's whole backward pass. CUDA graphs are not used: a step's noise decides on the CPU which
    operations run."""
    keep_freed_memory: bool = True
    """On a CPU: what a step frees stays with the process for the next step, until the run ends.
    False: it goes back to the system at once, which clears it before the next step gets it: 7.5
    instead of 9.4 GB, but 23 to 28 instead of 17 to 18 s per step at the paper's Cityscapes setting
    (bf16, two threads of an AMD EPYC, torch 2.15, November 2026)."""
    tf32: bool = True
    """On a GPU with `precision: float32`: convolutions in TF32, as torch has it by default. False:
    in full float32, as everything else is (prototypes, losses, the transformers of SETR). Rounding
    differs, as from device to device."""

    def __post_init__(self) -> None:
        require(self.log_every_steps >= 1, "log_every_steps", self.log_every_steps, "at least 1")
        require(
            self.checkpoint_every_steps >= 1,
            "checkpoint_every_steps",
            self.checkpoint_every_steps,
            "at least 1",
        )
        require(self.num_read_ahead >= 0, "num_read_ahead", self.num_read_ahead, "zero or more")
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        chunk = self.loss_chunk_mib
        require(chunk is None or chunk >= 0, "loss_chunk_mib", chunk, "zero or more")
        both = self.compile and self.activation_checkpointing in ("batchnorm", "backbone")
        require(
            not both,
            "activation_checkpointing",
            self.activation_checkpointing,
            "auto or none with compile: true",
        )
