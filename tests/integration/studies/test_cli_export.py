"""`rml export` of a run that was trained here: the file alone sees what `rml predict` sees.

What cannot be done is said in one sentence.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from safetensors import safe_open

from rml_trainers.errors import RmlError
from tests.support.platform.command import rml
from tests.support.platform.one_run import run_id_of

ALONE = """\
import sys
import numpy as np
import onnxruntime
from PIL import Image
file, picture, to = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
image = np.asarray(Image.open(picture).convert("RGB"))
(scores,) = session.run(None, {"images": image.transpose(2, 0, 1)[None]})
Image.fromarray(scores[0].argmax(0).astype(np.uint8)).save(to)
packages = {name.split(".")[0] for name in sys.modules}
ours = packages & {"torch", "rml_trainers", "rml_platform"}
assert not ours, ours
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that files are written to when none is named."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def out(trained: tuple[Path, str]) -> Path:
    return trained[0] / "out"


@pytest.fixture
def run_id(trained: tuple[Path, str]) -> str:
    return run_id_of(trained[0])


def test_onnxruntime_alone_sees_the_classes_that_predict_sees(
    out: Path, run_id: str, here: Path
) -> None:
    network = "ensemble"
    noise = np.random.default_rng(3).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save("street.png")
    said = rml("export", run_id, "--network", network, "--out", out)
    file = here / f"{run_id}-{network}.onnx"
    assert f"{network} of {run_id} at step 4" in said
    assert "takes images uint8 [batch, 3, height, width], RGB; gives logits float32" in said
    assert "random images: largest difference" in said
    assert "validation images: largest difference" in said
    assert "0 % of the pixels get another class" in said
    rml("predict", run_id, "street.png", "--to", ".", "--network", network, "--out", out)
    subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(file), "street.png", "alone.png"], check=True
    )
    predicted = np.asarray(Image.open("street_mask.png"))
    assert len(np.unique(predicted)) > 1, "there is something to tell apart"
    assert np.array_equal(np.asarray(Image.open("alone.png")), predicted)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["rml.run_id"] == run_id and metadata["rml.network"] == network
    assert len(json.loads(metadata["rml.class_names"])) == session.get_outputs()[0].shape[1]
    assert len(json.loads(metadata["rml.normalisation"])) == 2
    assert json.loads(metadata["rml.size_px"]) == [32, 48]


def test_plain_weights_are_those_of_the_checkpoint(out: Path, run_id: str) -> None:
    said = rml("export", run_id, "--format", "safetensors", "--network", "student_2", "--out", out)
    assert "takes images" not in said
    (checkpoint,) = {max((out / "runs" / run_id).rglob("students.safetensors"))}
    with (
        safe_open(checkpoint, framework="np") as stored,
        safe_open(f"{run_id}-student_2.safetensors", framework="np") as written,
    ):
        for name in written.keys():  # noqa: SIM118
            assert np.array_equal(written.get_tensor(name), stored.get_tensor(f"2.{name}"))
        assert written.keys()


def test_a_size_of_ones_own_and_an_own_place(out: Path, run_id: str, here: Path) -> None:
    wanted = ("--size", 40, 56, "--output", "probabilities", "--to", "a.ts", "--out", out)
    said = rml("export", run_id, "--format", "torchscript", *wanted)
    assert "uint8 [batch, 3, 40, 56], RGB; gives probabilities float32" in said
    assert [path.name for path in here.iterdir()] == ["a.ts"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scenes-4-imi-s0"], "no run 'scenes-4-imi-s0' under"),
        (["RUN", "--format", "onxx"], "--format onxx: did you mean 'onnx'? choices: onnx,"),
        (["RUN", "--output", "logit"], "--output logit: did you mean 'logits'?"),
        (["RUN", "--network", "teacher1"], "did you mean 'teacher_1'?"),
        (["RUN", "--to", "no/a.onnx"], "no/a.onnx: there is no folder no; make it first"),
        (["RUN", "--to", "a.pt"], "a.pt: files of the format onnx end in .onnx"),
        (["RUN", "--to", "there.onnx"], "there.onnx: is there already; choose another name or"),
        (["RUN", "--size", "0", "9"], "--size 0 9: expected at least 1 pixel each way"),
        (
            ["RUN", "--format", "safetensors", "--size", "8", "8"],
            "--format safetensors holds weights only: --size and --output are for the others",
        ),
        (
            ["RUN", "--format", "safetensors", "--network", "ensemble"],
            "holds one network, and the ensemble has 2",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    arguments: list[str], expected: str, out: Path, run_id: str, here: Path
) -> None:
    (here / "there.onnx").write_text("mine")
    with pytest.raises(RmlError) as refused:
        rml("export", *(run_id if word == "RUN" else word for word in arguments), "--out", out)
    assert expected in str(refused.value) and "\n" not in str(refused.value)
    assert [path.name for path in here.iterdir()] == ["there.onnx"]
    assert (here / "there.onnx").read_text() == "mine"


def test_a_run_without_its_images_or_without_a_checkpoint(
    out: Path, run_id: str, here: Path
) -> None:
    shutil.copytree(out / "runs", here / "copy" / "runs")
    said = rml("export", run_id, "--format", "safetensors", "--out", "copy")
    assert "validation images: none, copy/cache/" in said
    options = ("--format", "safetensors", "--storage", "copy", "--overwrite")
    said = rml("export", run_id, *options, "--out", out)
    assert "validation images: largest difference" in said, "found in the output folder"
    (here / f"{run_id}-teacher_1.safetensors").unlink()
    shutil.rmtree(here / "copy" / "runs" / run_id / "checkpoints")
    with pytest.raises(RmlError, match="no sound checkpoint; it has written none so far"):
        rml("export", run_id, "--out", "copy")
    with pytest.raises(RmlError, match=r"no run .* under .*nowhere; there are none"):
        rml("export", run_id, "--out", "nowhere")
    assert [path.name for path in here.iterdir()] == ["copy"]


def test_a_file_is_replaced_where_that_is_asked_for(out: Path, run_id: str, here: Path) -> None:
    target = here / "there.safetensors"
    target.write_text("old")
    given = ("export", run_id, "--format", "safetensors", "--to", target, "--out", out)
    rml(*given, "--overwrite")
    with safe_open(target, framework="np") as written:
        assert written.metadata()["rml.run_id"] == run_id
        assert written.metadata()["rml.network"] == "teacher_1", "the one that tables read"
