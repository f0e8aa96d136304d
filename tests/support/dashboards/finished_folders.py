"""Folders of finished runs, as training leaves them, for tests that read tables from them."""

import json
from pathlib import Path

from tests.support.recorded import PROTOCOL

CONFIG = {
    "seed": 0,
    "method": {"name": "iml"},
    "data": {"name": "own"},
    "split": {"family": "random", "num_labelled": 2, "fraction": None, "seed": 0},
}


def write_finished(
    storage: Path, run_id: str, miou: float, *, split: str = "s", **scores: float
) -> None:
    """The folder of a run with this score; keyword arguments are further scores by metric, with
    `__` for `/`."""
    folder = storage / "runs" / run_id
    folder.mkdir(parents=True)
    task = {
        "run_id": run_id,
        "config_json": json.dumps(CONFIG),
        "study": "own",
        "split_hash": split,
        "data_hash": "d",
        "code_version": "abc",
        "dirty": False,
    }
    own = {"miou": miou, **{name.replace("__", "/"): value for name, value in scores.items()}}
    evaluation = {
        "protocol": PROTOCOL,
        "network": "teacher_1",
        "subset": "val",
        "scores": own,
        "confusion": [[1]],
    }
    result = {"evaluations": [evaluation], "steps": 8, "seconds": 9.0, "time": 1_793_880_000.0}
    for name, content in {"task": task, "result": result}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
