"""A study of any size as it lies on disk while it runs: its plan and the folders of its runs.

Written as files and nothing else, so that ten thousand runs take seconds and no trainer.
"""

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rml_dashboards.contract.states import RunState
from rml_dashboards.contract.tags import CURRENT_RESULTS
from tests.support.recorded import PROTOCOL

StateOf = Callable[[int], RunState]
"""State of the run of a number, counted in the order of the table."""
NUM_STEPS = 1000
METHODS = ("supervised", "iml", "rml")
CLASSES = ("road", "building", "sky, clouds", "car (parked)")
LOG = "2026-11-05 10:00:00 note: the batch was cut in two\n"


def all_new(number: int) -> RunState:
    return "new"


def one_of_each(number: int) -> RunState:
    """Every state in turn."""
    states: tuple[RunState, ...] = (
        "done",
        "done",
        "running",
        "failed",
        "cancelled",
        "cut_off",
        "new",
    )
    return states[number % len(states)]


@dataclass(frozen=True)
class LiveGrid:
    """A study with rows, columns and seeds; run ids are `<study>-<row>-<column>-<seed>`."""

    out: Path
    name: str
    rows: Sequence[str]
    columns: Sequence[str]
    num_seeds: int

    @classmethod
    def make(
        cls,
        out: Path,
        *,
        name: str = "grid",
        rows: Sequence[str] = ("Supervised", "IML", "RML"),
        columns: Sequence[str] = ("1/8", "1/4"),
        num_seeds: int = 3,
        state_of: StateOf = one_of_each,
        **plan: Any,
    ) -> "LiveGrid":
        """Write the plan, and the folder of every run that has begun."""
        grid = cls(out, name, rows, columns, num_seeds)
        grid.write_plan(**plan)
        for number, (row, _, _, run_id) in enumerate(grid.cells()):
            grid.put(run_id, state_of(number), method=grid.method(row), seed=number)
        return grid

    def cells(self) -> list[tuple[int, int, int, str]]:
        """Numbers of row, column and seed, and the id of the run that fills the cell."""
        return [
            (row, column, seed, f"{self.name}-{row}-{column}-{seed}")
            for row in range(len(self.rows))
            for column in range(len(self.columns))
            for seed in range(self.num_seeds)
        ]

    @staticmethod
    def method(row: int) -> str:
        return METHODS[row % len(METHODS)]

    def folder(self, run_id: str) -> Path:
        return self.out / "runs" / run_id

    def write_plan(self, **changes: Any) -> None:
        """Write `plan.json`; keyword arguments take the place of its keys."""
        profile = changes.get("profile")
        plan = {
            "format": 1,
            "written_at": "2026-11-05T09:00:00+00:00",
            "code_version": "abc1234",
            "result_version": CURRENT_RESULTS,
            "source": "grid.yaml",
            "source_hash": "0" * 64,
            "profile": None,
            "overrides": [],
            "name": self.name,
            "title": "A grid that is under way",
            "description": "Three methods under two shares of labels.",
            "rows": [
                {"label": row, "group": "", "columns": list(self.columns), "reported": {}}
                for row in self.rows
            ],
            "columns": [
                {"label": column, "metric": "final/miou", "higher_is_better": True}
                for column in self.columns
            ],
            "seeds": list(range(self.num_seeds)),
            "table": {},
            "figures": [],
            "settings": {"schedule.warm_up_steps": 0, "data.name": "scenes"},
            "runs": [self._run(*cell) for cell in self.cells()],
            "warnings": [],
            **changes,
        }
        folder = self.out / "studies" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f"-{profile}" if profile else ""
        (folder / f"plan{suffix}.json").write_text(json.dumps(plan))

    def _run(self, row: int, column: int, seed: int, run_id: str) -> dict[str, Any]:
        method = self.method(row)
        return {
            "run_id": run_id,
            "cells": [{"row": self.rows[row], "column": self.columns[column], "seed": seed}],
            "method": method,
            "data": "scenes",
            "num_labelled": 12 * (column + 1),
            "num_unlabelled": 100,
            "split_hash": f"split{column}",
            "data_hash": "d",
            "warm_up_steps": 0,
            "stage_steps": [NUM_STEPS],
            "stages": [{"last_step": NUM_STEPS, "hash": None}],
            "reporting": "r",
            "settings": {"method.name": method, "seed": seed},
        }

    def put(self, run_id: str, state: RunState, *, method: str = "rml", seed: int = 0) -> None:
        """The folder of a run in a state; none for a new one."""
        if state == "new":
            return
        self.write(run_id, "task.json", task(run_id, method, seed))
        step = NUM_STEPS if state == "done" else 100 + seed % 700
        if state == "done":
            self.write(run_id, "heartbeat.json", heartbeat(step, state="stopped"))
            self.write(run_id, "result.json", result(0.4 + seed % 37 / 100))
            return
        age = 10_000.0 if state == "cut_off" else 0.0
        self.write(run_id, "heartbeat.json", heartbeat(step, age=age))
        if state in ("failed", "cancelled"):
            kind = "Cancelled" if state == "cancelled" else "CudaError"
            self.write(run_id, "failure.json", failure(kind, "the device ran out of memory"))

    def write(self, run_id: str, name: str, content: Any) -> Path:
        """Write a file of a run as the platform does: under another name, then moved."""
        file = self.folder(run_id) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.parent / f".{file.name}.tmp"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        temporary.write_bytes(data)
        temporary.replace(file)
        return file

    def measure(self, run_id: str, num: int = 50) -> None:
        """A piece of measurements of a run, loss and scores, up to its last step."""
        steps = np.linspace(1, NUM_STEPS, num).astype(int).tolist()
        rows = [["train/loss", step, step, 3.0 / (1 + step / 100)] for step in steps]
        rows += [["val/miou", step, step, 0.6 * step / (step + 200)] for step in steps[::5]]
        rows += [["val/iou/road", step, step, 0.7 * step / (step + 100)] for step in steps[::5]]
        self.write(run_id, "metrics/end.json", rows)

    def beside(self, run_id: str, seed: int = 0) -> None:
        """What a finished run has besides: measurements, pictures, a log."""
        self.measure(run_id)
        self.write(run_id, "log.txt", LOG.encode())
        for name in ("val_00000", "val_00001"):
            self.write(run_id, f"predictions/{name}.png", picture(seed))


def task(run_id: str, method: str, seed: int) -> dict[str, Any]:
    config = {
        "seed": seed,
        "method": {"name": method, "distance": "relative"},
        "data": {"name": "scenes", "size_px": [64, 96]},
        "split": {"family": "french", "num_labelled": None, "fraction": 0.125, "seed": 0},
    }
    return {
        "run_id": run_id,
        "config_json": json.dumps(config),
        "study": "grid",
        "split_hash": "split0",
        "data_hash": "d",
        "code_version": "abc1234",
        "dirty": False,
        "result_version": CURRENT_RESULTS,
    }


def heartbeat(
    step: int, *, state: str = "running", age: float = 0.0, **more: Any
) -> dict[str, Any]:
    return {
        "state": state,
        "time": time.time() - age,
        "step": step,
        "num_steps": NUM_STEPS,
        "stage": 0,
        "num_stages": 1,
        "seconds": step * 0.5,
        "seconds_per_step": 0.5,
        "loss": 3.0 / (1 + step / 100),
        "miou": 0.6 * step / (step + 200),
        "checkpoint_step": step,
        "device": "cuda:0",
        "node": "",
        "attempt": 1,
        "worker": {"host": "machine-1", "pid": 1},
        **more,
    }


def result(miou: float) -> dict[str, Any]:
    scores: Mapping[str, float | None] = {
        "miou": miou,
        "accuracy": miou + 0.2,
        **{f"iou/{name}": miou + 0.03 * place for place, name in enumerate(CLASSES)},
    }
    evaluation = {
        "protocol": PROTOCOL,
        "network": "teacher_1",
        "subset": "val",
        "scores": scores,
        "confusion": [[1]],
    }
    return {
        "evaluations": [evaluation],
        "steps": NUM_STEPS,
        "seconds": NUM_STEPS * 0.5,
        "device": "cuda:0",
        "time": 1_793_880_000.0,
    }


def failure(kind: str, message: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "message": message,
        "traceback": f"Traceback (most recent call last):\n  …\n{kind}: {message}",
        "attempt": 1,
        "launch_id": "l",
        "time": 1_793_880_000.0,
    }


def picture(seed: int) -> bytes:
    """Image, truth and prediction beside each other: 64×96 each."""
    noise = np.random.default_rng(seed).integers(0, 255, (64, 288, 3), dtype=np.uint8)
    noise[:, 96:192] = noise[:, 192:] // 2
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG")
    return file.getvalue()
