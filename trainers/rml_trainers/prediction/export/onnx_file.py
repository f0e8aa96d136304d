"""ONNX: the network as a graph that onnxruntime and others run without torch."""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.export.file_format import FileFormat, Request, Scores
from rml_trainers.prediction.export.image_to_scores import ImageToScores

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
"""The version of ONNX's operators; onnxruntime knows it since 1.17."""
LARGEST_BYTES = 2**31 - 2**24
"""A file is one protobuf message, which ends at 2 GiB; what is left out is for the graph."""
EXAMPLE_PX = (90, 122)
"""Size at which a graph for all sizes is recorded: oblong, and no multiple of any patch or stride,
so that nothing of a special case gets into it."""

NOT_FOR_A_PERSON = (
    "While compiling, we found certain side effects happened",
    "The tensor attribute .* was assigned during export",
)
"""What torch warns of when a network keeps a tensor between forwards, as rotary positions are; that
the file computes what the network does is compared afterwards."""


def require_packages() -> None:
    """Raises ConfigError, see `FileFormat`."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"format onnx needs {', '.join(PACKAGES)}: {name} cannot be imported ({error}); "
                "pip install 'rml[export]'"
            ) from error


def write(request: Request, path: Path) -> SizePx | None:
    """See `FileFormat`."""
    module = request.module
    tensors = (*module.parameters(), *module.buffers())
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if num_bytes > LARGEST_BYTES:
        raise ConfigError(
            f"the weights take {num_bytes / 2**30:.1f} GiB, and an onnx file holds at most 2; "
            "use the format torchscript, or export the networks of an ensemble one by one"
        )
    program = _program(module, request.fixed_px)
    metadata = {**request.metadata, **module.interface(request.fixed_px)}
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)
    return request.fixed_px


def _program(module: ImageToScores, fixed_px: SizePx | None) -> torch.onnx.ONNXProgram:
    open_axes = {0: "batch"}
    if fixed_px is None:
        open_axes |= {2: "height", 3: "width"}
    try:
        with warnings.catch_warnings():
            for told in NOT_FOR_A_PERSON:
                warnings.filterwarnings("ignore", told, UserWarning)
            program = torch.onnx.export(
                module,
                (torch.zeros(2, 3, *(fixed_px or EXAMPLE_PX), dtype=torch.uint8),),
                dynamo=True,
                dynamic_shapes={"images": open_axes},
                input_names=["images"],
                output_names=[module.output],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        hint = "give it one size of images (--size), or " if fixed_px is None else ""
        raise ConfigError(
            f"torch cannot turn the network into ONNX; {hint}use the format torchscript: {error}"
        ) from error
    assert program is not None, "torch gives a program where it is given no file"
    return program


def scores(path: Path, batches: Sequence[Tensor]) -> list[Scores]:
    """See `FileFormat`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    return [session.run(None, {"images": batch.numpy()})[0] for batch in batches]


def checked_with() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


ONNX = FileFormat(
    suffixes=(".onnx",),
    has_graph=True,
    require_packages=require_packages,
    write=write,
    scores=scores,
    checked_with=checked_with,
)
