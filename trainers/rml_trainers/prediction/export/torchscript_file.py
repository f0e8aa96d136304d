"""TorchScript: the network as a graph that torch runs without this project, from C++ too.

PyTorch calls TorchScript deprecated (since 2.9) and names torch.export as what follows; it still
writes and reads these files, and says so in a warning that is silenced here and told in the
documentation.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.export.file_format import FileFormat, Request, Scores
from rml_trainers.prediction.export.image_to_scores import ImageToScores

METADATA_FILE = "rml.json"
"""Name of the metadata among the extra files of the archive."""
EXAMPLE_PX = (90, 122)
"""Size at which a file for all sizes is traced."""
TRACER_WARNING: type[Warning] = torch.jit.TracerWarning  # type: ignore[attr-defined]
"""What torch warns with when a trace keeps a value of its example as a constant."""
IN_A_FRESH_PROCESS = """\
import sys, warnings, torch
from safetensors.torch import load_file, save_file
warnings.simplefilter("ignore", FutureWarning)
model, images, scores = sys.argv[1:4]
torch.set_num_threads(int(sys.argv[4]))
module = torch.jit.load(model)
with torch.no_grad():
    save_file({k: module(v).contiguous() for k, v in load_file(images).items()}, scores)
"""


def _require_images(images: Tensor, height: int, width: int) -> Tensor:
    """Refuse what the file would misread; part of the file, and compiled because a trace keeps no
    conditions. Height and width are 0 where any will do."""
    if images.dtype != torch.uint8 or images.dim() != 4 or images.size(1) != 3:
        raise ValueError("expected RGB images: uint8 [batch, 3, height, width]")
    if height > 0 and (images.size(2) != height or images.size(3) != width):
        raise ValueError(f"this file takes images of {height} x {width} pixels only")
    return images


class _Guarded(nn.Module):
    def __init__(self, module: ImageToScores, fixed_px: SizePx | None) -> None:
        super().__init__()
        self.module = module
        self.size_px = fixed_px or (0, 0)
        self.require_images = torch.jit.script(_require_images)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.module(self.require_images(images, *self.size_px))
        return scores


def write(request: Request, path: Path) -> SizePx | None:
    """See `FileFormat`. A network whose Python code looks at the size of an image (a transformer
    that resamples its positions) is traced for one size, because a trace would keep the answer."""
    fixed_px = request.fixed_px
    with _without_deprecation():
        traced, depends_on_size = _trace(request.module, fixed_px)
        if fixed_px is None and depends_on_size:
            fixed_px = request.usual_px
            traced, _ = _trace(request.module, fixed_px)
        metadata = {**request.metadata, **request.module.interface(fixed_px)}
        torch.jit.save(traced, path, _extra_files={METADATA_FILE: json.dumps(metadata)})
    return fixed_px


def _trace(module: ImageToScores, fixed_px: SizePx | None) -> tuple[torch.jit.ScriptModule, bool]:
    """The traced module, and whether values of this one image got into it as constants."""
    guarded = _Guarded(module, fixed_px).eval()
    example = torch.zeros(2, 3, *(fixed_px or EXAMPLE_PX), dtype=torch.uint8)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TRACER_WARNING)
        # What is traced is compared below, on images of several sizes.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            guarded, (example,), check_trace=False
        )
    assert isinstance(traced, torch.jit.ScriptModule)
    return traced, any(issubclass(one.category, TRACER_WARNING) for one in told)


@contextmanager
def _without_deprecation() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\..*deprecated", FutureWarning)
        yield


def scores(path: Path, batches: Sequence[Tensor]) -> list[Scores]:
    """See `FileFormat`; in a fresh process that imports nothing of this project."""
    with tempfile.TemporaryDirectory(prefix="rml-export-") as name:
        images_file = Path(name) / "images.safetensors"
        scores_file = Path(name) / "scores.safetensors"
        save_file({str(i): batch.contiguous() for i, batch in enumerate(batches)}, images_file)
        arguments = [str(file) for file in (path.resolve(), images_file, scores_file)]
        done = subprocess.run(
            [sys.executable, "-c", IN_A_FRESH_PROCESS, *arguments, str(torch.get_num_threads())],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ConfigError(
                "the TorchScript file does not run in a process without rml, so none was written; "
                f"try another format: {done.stderr.strip()}"
            )
        found = load_file(scores_file)
        return [found[str(i)].numpy() for i in range(len(batches))]


TORCHSCRIPT = FileFormat(
    suffixes=(".pt", ".ts"),
    has_graph=True,
    require_packages=lambda: None,
    write=write,
    scores=scores,
    checked_with=lambda: f"torch {torch.__version__} in a fresh process",
)
