"""The device is the one that is there; the identity of a run is what can change its result."""

from dataclasses import replace

import pytest
import torch

from rml_trainers.config import BatchConfig, RuntimeConfig, SplitConfig
from rml_trainers.errors import DeviceError
from rml_trainers.runtime import device
from rml_trainers.runtime.device import (
    choose_device,
    compute_dtype,
    cpu_multiplies_bf16,
    prepare_device,
    searching_kernels,
)
from rml_trainers.training.assembly import make_learners
from rml_trainers.training.identity import identity_fields, identity_hash
from tests.support.tiny import tiny_config

HASHES = {"split_hash": "s", "data_hash": "d"}


def test_auto_takes_the_cpu_where_torch_sees_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", local_index=3) == torch.device("cpu")
    with pytest.raises(DeviceError, match="rml doctor"):
        choose_device("cuda")


def test_every_worker_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", local_index=1) == torch.device("cuda", 1)
    assert choose_device("cpu", local_index=1) == torch.device("cpu")
    with pytest.raises(DeviceError, match="needs its own GPU; torch sees 2"):
        choose_device("auto", local_index=2)


def test_precision_is_float32_on_the_cpu_unless_asked_for() -> None:
    assert compute_dtype("auto", torch.device("cpu")) == torch.float32
    assert compute_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(
    ("known", "expected"), [({"amx_bf16": True}, True), ({"avx512_bf16": False}, False)]
)
def test_which_cpus_multiply_bf16(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert cpu_multiplies_bf16() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not cpu_multiplies_bf16(), "an older torch"


def test_a_gpu_searches_its_kernels_for_fixed_sizes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in ("benchmark", "allow_tf32"):
        monkeypatch.setattr(
            torch.backends.cudnn, flag, getattr(torch.backends.cudnn, flag)
        )  # taken back afterwards
    prepare_device(torch.device("cpu"), tf32=False, keep_memory=False)
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (False, True), (
        "torch's own defaults"
    )
    prepare_device(torch.device("cuda"), tf32=False, keep_memory=False)
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (True, False)
    for worth_it in (True, False):
        with searching_kernels(worth_it):
            assert torch.backends.cudnn.benchmark is worth_it
        assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("keep", [True, False])
def test_every_run_says_whether_freed_memory_is_kept(
    monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    """Also that it is not: the process may have had a run before."""
    said: list[bool] = []
    monkeypatch.setattr(device, "keep_freed_memory", said.append)
    config = tiny_config(runtime=RuntimeConfig(device="cpu", keep_freed_memory=keep))
    make_learners(config, 3, torch.device("cpu"))
    assert said == [keep]


def test_how_a_run_is_carried_out_is_not_its_identity() -> None:
    config = tiny_config()
    moved = replace(config, runtime=RuntimeConfig(device="cuda", log_every_steps=1, threads=7))
    assert identity_hash(config, **HASHES) == identity_hash(moved, **HASHES)


def test_two_recipes_of_one_split_are_one_run_and_another_split_is_another() -> None:
    by_number, by_fraction = (
        tiny_config(split=s) for s in (SplitConfig(num_labelled=5), SplitConfig(fraction=0.5))
    )
    assert identity_hash(by_number, **HASHES) == identity_hash(by_fraction, **HASHES)
    assert identity_hash(by_number, split_hash="t", data_hash="d") != identity_hash(
        by_number, **HASHES
    )
    shared_pool = tiny_config(split=SplitConfig(num_labelled=5, pool_includes_labelled=True))
    assert identity_hash(shared_pool, **HASHES) != identity_hash(by_number, **HASHES)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"precision": "bfloat16"},
        {"unsupervised_weight": 0.5},
        {"batch": BatchConfig(accumulate=2)},
    ],
)
def test_what_can_change_a_result_is_in_the_identity(change: dict[str, object]) -> None:
    plain: dict[str, object] = {"batch": BatchConfig()}
    assert identity_hash(tiny_config(**{**plain, **change}), **HASHES) != identity_hash(
        tiny_config(**plain), **HASHES
    )


def test_fields_at_their_default_are_left_out_so_that_new_ones_orphan_no_run() -> None:
    fields = identity_fields(tiny_config("rml"))
    assert fields["method"] == {"name": "rml", "min_cells": 1}
    assert "runtime" not in fields
