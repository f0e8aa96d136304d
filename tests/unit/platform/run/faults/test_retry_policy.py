"""Decisions over the failures of a run, and the classes of failures."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from rml_platform.run.faults.retry_policy import (
    GIVE_UP,
    NEVER,
    FailureClass,
    Trouble,
    class_of,
    classify,
    decide,
    node_to_exclude,
    retries_for,
)
from rml_platform.study.retry_config import RetryConfig

RULES = RetryConfig()
OOM = FailureClass.OUT_OF_MEMORY
DEVICE = FailureClass.DEVICE
COMMUNICATION = FailureClass.COMMUNICATION


def tries(kind: FailureClass, rules: RetryConfig) -> int:
    """How often a run that always fails in one way is tried again, up to 100 times."""
    history: list[Trouble] = []
    while len(history) < 100:
        history.append(Trouble(kind))
        if not decide(history, rules).is_tried_again:
            return len(history) - 1
    return len(history)


@pytest.mark.parametrize("kind", FailureClass)
def test_each_kind_is_tried_again_as_often_as_the_rules_say(kind: FailureClass) -> None:
    allowed = retries_for(kind, RULES)
    assert tries(kind, RULES) == (100 if allowed == "unlimited" else allowed)


@pytest.mark.parametrize("kind", sorted(NEVER))
def test_what_would_fail_again_is_never_tried_again(kind: FailureClass) -> None:
    assert decide([Trouble(kind)], RULES, can_halve_batch=True) == GIVE_UP


@pytest.mark.parametrize("kind", sorted(set(FailureClass) - NEVER))
def test_users_change_the_rules(kind: FailureClass) -> None:
    def rules(retries: object) -> RetryConfig:
        changes: dict[str, Any] = {kind.value: retries}
        return replace(RULES, **changes)

    assert tries(kind, rules(7)) == 7
    assert tries(kind, rules(0)) == 0
    assert tries(kind, rules("unlimited")) == 100
    with pytest.raises(ValueError, match=kind.value):
        rules(-1)


def test_preemption_has_no_limit_and_uses_up_nothing_of_the_others() -> None:
    history = [Trouble(FailureClass.PREEMPTED, "a")] * 49 + [Trouble(FailureClass.LOST, "a")]
    decision = decide(history, RULES)
    assert (decision.is_tried_again, decision.avoid) == (True, ())


def test_waiting_for_room_counts_from_the_last_time_under_way() -> None:
    waiting = Trouble(FailureClass.NO_ROOM)
    assert decide([waiting] * 1000, RULES).is_tried_again, "a day without nodes loses no run"
    rules = replace(RULES, no_room=2)
    assert decide([waiting] * 2, rules).is_tried_again
    assert not decide([waiting] * 3, rules).is_tried_again
    under_way = Trouble(FailureClass.PREEMPTED, "a")
    assert decide([waiting, waiting, under_way, waiting, waiting], rules).is_tried_again


def test_a_node_is_excluded_after_failures_of_several_runs() -> None:
    lost = Trouble(FailureClass.LOST, "a")
    rules = replace(RULES, node_faults=3)
    assert not node_to_exclude([[lost, lost, lost]], "a", rules), "it may be the run"
    assert not node_to_exclude([[lost], [lost]], "a", rules)
    assert node_to_exclude([[lost, lost], [lost]], "a", rules)
    assert not node_to_exclude([[lost, lost], [lost]], "b", rules)
    assert not node_to_exclude([[lost, lost], [lost]], "", rules)
    gone = Trouble(FailureClass.PREEMPTED, "a")
    assert not node_to_exclude([[gone] * 5, [gone] * 5], "a", rules)
    never = replace(RULES, node_faults="unlimited")
    assert not node_to_exclude([[lost] * 5, [lost] * 5], "a", never)


def test_budgets_are_separate() -> None:
    lost = Trouble(FailureClass.LOST)
    memory = Trouble(OOM)
    assert decide([lost, lost, lost, memory], RULES).is_tried_again
    assert not decide([memory, lost, memory], RULES).is_tried_again


@pytest.mark.parametrize("kind", [FailureClass.DEVICE, FailureClass.NODE_DISK])
def test_broken_gpus_and_disks_of_several_runs_exclude_their_node(kind: FailureClass) -> None:
    broken = Trouble(kind, "a")
    assert node_to_exclude([[broken], [broken], [broken]], "a", replace(RULES, node_faults=3))


@pytest.mark.parametrize(
    "kind",
    [
        FailureClass.HANG,
        FailureClass.COMMUNICATION,
        FailureClass.DEVICE,
        FailureClass.NODE_DISK,
        FailureClass.OUT_OF_MEMORY,
    ],
)
def test_the_next_attempt_avoids_the_node(kind: FailureClass) -> None:
    assert decide([Trouble(kind, "b"), Trouble(FailureClass.LOST, "a")], RULES).avoid == ("b",)
    assert decide([Trouble(kind)], RULES).avoid == ()


def test_a_node_where_processes_die_is_avoided_from_the_second_time_on() -> None:
    lost = Trouble(FailureClass.LOST, "a")
    assert decide([lost], RULES).avoid == ()
    assert decide([lost, lost], RULES).avoid == ("a",)


def test_memory_is_halved_as_long_as_it_can_be_and_then_looked_for_elsewhere() -> None:
    rules = replace(RULES, on_oom="halve_batch")
    history = [Trouble(OOM, "a")]
    for _ in range(3):
        decision = decide(history, rules, can_halve_batch=True)
        assert (decision.halve_batch, decision.avoid) == (True, ())
        history[-1] = replace(history[-1], led_to_halving=True)
        history.append(Trouble(OOM, "a"))
    decision = decide(history, rules, can_halve_batch=False)
    assert (decision.is_tried_again, decision.halve_batch) == (True, False)
    assert decision.avoid == ("a",)
    assert decide([*history, Trouble(OOM, "b")], rules, can_halve_batch=False) == GIVE_UP
    assert not decide(history, RULES, can_halve_batch=True).halve_batch


@pytest.mark.parametrize(
    ("types", "text", "kind"),
    [
        (("ConfigError",), "lr = -1", FailureClass.CONFIG),
        (("RayTaskError", "DataError"), "corrupt image", FailureClass.DATA),
        (("DataError",), "cannot write: the disk is full; free some space", FailureClass.DISK_FULL),
        (("OSError",), "[Errno 28] No space left on device", FailureClass.DISK_FULL),
        (("NonFiniteLossError",), "the loss became nan", FailureClass.NON_FINITE),
        (("RuntimeError", "OutOfMemoryError"), "CUDA out of memory", FailureClass.OUT_OF_MEMORY),
        (("RuntimeError",), "CUDA error: out of memory", FailureClass.OUT_OF_MEMORY),
        (
            ("ActorDiedError",),
            "killed due to the node running low on memory (OOM)",
            FailureClass.OUT_OF_MEMORY,
        ),
        (
            ("RuntimeError",),
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 1152921504606846976 bytes. Error code 12 (Cannot "
            "allocate memory)",
            OOM,
        ),
        (("OSError",), "[Errno 12] Cannot allocate memory", OOM),
        (
            ("RuntimeError",),
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            OOM,
        ),
        (("RuntimeError",), "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", OOM),
        (
            ("NodeDiskError",),
            "this node cannot write to its own disk, /tmp: [Errno 28] No space left on device",
            FailureClass.NODE_DISK,
        ),
        (
            ("HubHomeError",),
            "this node cannot use timm's cache, /root/.cache/huggingface/hub (HF_HOME): [Errno 13] "
            "Permission denied",
            FailureClass.NODE_DISK,
        ),
        (
            ("HubAwayError",),
            "network.weights = 'timm': fetching the weights of 'resnet50' failed: they are not in "
            "the local cache, and the hub cannot be reached or broke off (ReadError)",
            FailureClass.STORAGE,
        ),
        (("CheckpointError",), "manifest.json is missing", FailureClass.CHECKPOINT),
        (
            ("CheckpointError",),
            "cannot write a checkpoint under runs: the disk is full; free some space",
            FailureClass.DISK_FULL,
        ),
        (("OSError",), "[Errno 27] File too large", FailureClass.DISK_FULL),
        (("WorkerGroupError", "ActorDiedError"), "The actor died unexpectedly", FailureClass.LOST),
        (("RuntimeError",), "[gloo] Connection closed by peer", FailureClass.COMMUNICATION),
        (("DistBackendError",), "NCCL communicator was aborted", FailureClass.COMMUNICATION),
        (
            ("DistNetworkError",),
            "The client socket has timed out after 60000ms while trying to connect to (10.0.0.1, "
            "29500).",
            FailureClass.COMMUNICATION,
        ),
        (("DistNetworkError",), "failed to recv, got 0 bytes", FailureClass.COMMUNICATION),
        (
            ("DistStoreError",),
            "Timed out after 61 seconds waiting for clients. 1/2 clients joined.",
            FailureClass.COMMUNICATION,
        ),
        (
            (),
            "torch.distributed.DistNetworkError: The client socket has timed out after 60000ms",
            FailureClass.COMMUNICATION,
        ),
        (
            (),
            "torch.distributed.DistStoreError: Socket Timeout [Rank 1] ActorDiedError: it died",
            FailureClass.LOST,
        ),
        (
            ("ActorDiedError",),
            "The actor died because its node has died. Node Id: 0f",
            FailureClass.PREEMPTED,
        ),
        (
            (),
            "The actor is dead because its worker process has died. Worker exit type: "
            "SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error "
            "code 2. End of file. Some common causes include: (1) the process was killed by the "
            "OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the "
            "worker crashed unexpectedly due to SIGSEGV or another unexpected error. If the "
            "process was killed by the kernel OOM killer, consider enabling resource isolation to "
            "prevent node deaths by resource contention.",
            FailureClass.LOST,
        ),
        (("WorkerGroupStartupTimeoutError",), "no room", FailureClass.NO_ROOM),
        (
            (),
            "[Rank 0] gloo: Connection closed by peer [Rank 1] ActorDiedError: The actor died",
            FailureClass.LOST,
        ),
        (("ActorDiedError", "ConfigError"), "lr = -1", FailureClass.CONFIG),
        (("AcceleratorError",), "CUDA error: uncorrectable ECC error encountered", DEVICE),
        (("RuntimeError",), "CUDA error: unspecified launch failure", DEVICE),
        (("RuntimeError",), "CUDA error: an illegal memory access was encountered", DEVICE),
        (("AcceleratorError",), "CUDA error: device-side assert triggered", FailureClass.CODE),
        (("AcceleratorError",), "CUDA error: the launch timed out and was terminated", DEVICE),
        (("RuntimeError",), "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", DEVICE),
        (("RuntimeError",), "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", DEVICE),
        (("RuntimeError",), "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", DEVICE),
        (
            ("RuntimeError",),
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
            DEVICE,
        ),
        (("RuntimeError",), "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", FailureClass.CODE),
        (("RuntimeError",), "No CUDA GPUs are available", DEVICE),
        (
            ("AcceleratorError",),
            "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            DEVICE,
        ),
        (("RuntimeError",), "CUDA error: device not ready", DEVICE),
        (("RuntimeError",), "cudaErrorDevicesUnavailable", DEVICE),
        (("RuntimeError",), "Can't initialize NVML", DEVICE),
        (("RuntimeError",), "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", DEVICE),
        (
            ("DistBackendError",),
            "NCCL watchdog thread terminated with exception: CUDA error: uncorrectable ECC error",
            DEVICE,
        ),
        (("MissingGpuError",), "this worker was given 1 GPU, and torch sees 0", DEVICE),
        (("DeviceError",), "torch sees no usable GPU on this machine", FailureClass.CONFIG),
        (("Cancelled",), "cancelled at step 3 of 8", FailureClass.CANCELLED),
        (("ZeroDivisionError",), "division by zero", FailureClass.CODE),
        ((), "", FailureClass.CODE),
        (
            ("FileNotFoundError",),
            "[Errno 2] No such file or directory: '/scratch/preempt/me/weights.pth'",
            FailureClass.CODE,
        ),
        (
            ("PermissionError",),
            "[Errno 13] Permission denied: '/gpfs/preemptible/rml/runs'",
            FailureClass.CODE,
        ),
        (("KeyError",), "'drain'", FailureClass.CODE),
        (("KeyError",), "'node was preempted'", FailureClass.CODE),
        (("ValueError",), "no worker died in WorkerGroupStartupTimeoutError", FailureClass.CODE),
        (("ModuleNotFoundError",), "No module named 'gloo'", FailureClass.CODE),
        (("ConnectionResetError",), "[Errno 104] Connection reset by peer", COMMUNICATION),
        (
            ("DistNetworkError",),
            "The client socket has failed to connect to gke-pool-preemptible-1:29500",
            COMMUNICATION,
        ),
        (
            (),
            "WorkerGroupError: DistNetworkError: no connection to gke-pool-preemptible-1:29500",
            COMMUNICATION,
        ),
    ],
)
def test_failures_are_told_apart(types: tuple[str, ...], text: str, kind: FailureClass) -> None:
    assert classify(types, text) is kind


@pytest.mark.parametrize(
    "text",
    [
        "The actor died because its node has died. Node Id: 0f\n"
        "\tthe actor's node was terminated expectedly: received SIGTERM",
        "The actor died unexpectedly before finishing this task.\n"
        "\tthe actor's node was preempted: spot capacity",
        "The actor died unexpectedly before finishing this task.\n\tActor died by preemption.",
        "Node was forcibly preempted",
        "the node was inferred to be dead due to draining.",
        "Task failed because the node it was running on is dead or unavailable. Node IP: 10.0.0.1",
        "Worker exit detail: Killing leased worker because its owner's node died.",
        "PreemptionError: Training was interrupted by node preemption (preempted_ranks=[0], "
        "drain_timed_out=True).",
        "Task f failed due to node preemption on node 0f",
    ],
)
def test_what_ray_says_of_a_node_that_went_away_is_known(text: str) -> None:
    assert classify((), text) is FailureClass.PREEMPTED
    assert classify(("RayActorError",), text) is FailureClass.PREEMPTED
    assert classify(("RuntimeError",), text) is FailureClass.CODE, "who says so is not Ray"


def test_what_an_error_derives_from_counts_where_it_is_at_hand() -> None:
    class NoBlockError(MemoryError):
        """A library's own."""

    assert class_of(NoBlockError("no block")) is OOM
    with pytest.raises(RuntimeError) as huge:
        torch.empty(1 << 58)
    assert class_of(huge.value) is OOM, "as torch says it"
