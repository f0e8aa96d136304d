"""Contenders by name, so that a fresh process can build the same one: `step/<method>`, `floor/<method>`, `peer/…`."""

from dataclasses import replace
from pathlib import Path

import torch

from rml_trainers.bench.peers import PEERS
from rml_trainers.bench.peers.script import Script, load
from rml_trainers.bench.settings import Setting
from rml_trainers.bench.timing import Call
from rml_trainers.bench.workload import METHOD_CONFIGS, PROGRESS, Workload


def contender(name: str, setting: Setting, folder: Path) -> Call:
    """Build a contender: `step/rml`, `floor/rml`, `peer/rml/float32` (in the structure of its public script)."""
    what, method, *precision = name.split("/")
    if what == "peer":
        return _peer(method, setting, folder, getattr(torch, precision[0]))
    workload = Workload(setting, METHOD_CONFIGS[method], folder)
    return workload.floor() if what == "floor" else workload.step


def _peer(method: str, setting: Setting, folder: Path, dtype: torch.dtype) -> Call:
    workload = Workload(replace(setting, compiled=False), METHOD_CONFIGS[method], folder)
    script: Script = PEERS[method](workload.trainer, dtype)
    batches = [load(batch) for batch in workload.batches]

    def step(index: int) -> None:
        script.step(batches[index % len(batches)], PROGRESS)

    return step


def images_per_call(name: str, setting: Setting) -> int:
    """Images that a contender trains on in one call."""
    return setting.batch[0] + (0 if name.split("/")[1] == "supervised" else setting.batch[1])


def title(name: str) -> str:
    """As tables call a contender: `rml`, `floor`, `CPS-style, float32`."""
    what, method, *precision = name.split("/")
    if what == "peer":
        return f"{PEERS[method].style}, {precision[0]}"
    return "floor" if what == "floor" else method
