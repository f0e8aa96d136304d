"""Contenders by name, so that a fresh process can build the same one.

`step/<method>`, `floor/<method>`, `peer/<method>/<precision>/<kernels>`.
"""

from dataclasses import replace
from pathlib import Path

import torch

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.peers import PEERS
from rml_benchmarks.peers.script import Kernels, Script, load
from rml_benchmarks.settings import Setting
from rml_benchmarks.workload.workload import METHOD_CONFIGS, PROGRESS, Workload


def contender(name: str, setting: Setting, folder: Path) -> Call:
    """Build a contender: `step/rml`, `floor/rml`, `peer/rml/float32/plain` (in the structure of its
    public script)."""
    what, method, *how = name.split("/")
    if what == "peer":
        precision, kernels = how
        return _peer(method, setting, folder, precision, "our" if kernels == "our" else "plain")
    if what == "floor":
        bare = replace(setting.runtime, activation_checkpointing="none")
        return Workload(replace(setting, runtime=bare), METHOD_CONFIGS[method], folder).floor()
    return Workload(setting, METHOD_CONFIGS[method], folder).step


def _peer(method: str, setting: Setting, folder: Path, precision: str, kernels: Kernels) -> Call:
    bare = replace(setting.runtime, compile=False, activation_checkpointing="none")
    workload = Workload(replace(setting, runtime=bare), METHOD_CONFIGS[method], folder)
    script: Script = PEERS[method](workload.trainer, getattr(torch, precision), kernels)
    batches = [load(batch) for batch in workload.batches]

    def step(index: int) -> None:
        script.step(batches[index % len(batches)], PROGRESS)

    return step


def images_per_call(name: str, setting: Setting) -> int:
    """Images that a contender trains on in one call."""
    return setting.batch[0] + (0 if name.split("/")[1] == "supervised" else setting.batch[1])


def title(name: str) -> str:
    """As tables call a contender: `rml`, `floor`, `CPS-style, float32, plain kernels`."""
    what, method, *how = name.split("/")
    if what == "peer":
        return f"{PEERS[method].style}, {how[0]}, {how[1]} kernels"
    return "floor" if what == "floor" else method
