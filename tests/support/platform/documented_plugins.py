"""The plug-ins of docs/plug-ins.md as files, for tests that train with them."""

from pathlib import Path

from tests.support.documentation.pages import ROOT, Page

RUN = """\
data: {name: night, size_px: [32, 48], num_train: 10, num_val: 3}
split: {num_labelled: 4}
method: {name: self_taught}
network: {name: small}
geometry: {crop_px: [24, 32]}
batch: {labelled: 2, unlabelled: 2}
schedule: {warm_up_steps: 2, stage_steps: [2]}
runtime: {device: cpu, checkpoint_every_steps: 2, threads: 1, num_read_ahead: 0}
"""
STUDY = "name: outside\nexecution: direct\nresources: {cpus_per_worker: 1}\nbase:\n" + "".join(
    f"  {line}\n" for line in RUN.splitlines()
)


def write_plugins(folder: Path) -> tuple[Path, ...]:
    """The files of the page: one method, one network, one data set and one metric."""
    written = []
    for block in Page(ROOT / "docs" / "plug-ins.md").blocks:
        if block.language == "python":
            path = folder / block.info
            path.write_text(block.text)
            written.append(path)
    assert len(written) == 4, "one of each kind"
    return tuple(written)


def options(*files: Path) -> list[str]:
    """`--plugin` for each file."""
    return [word for file in files for word in ("--plugin", str(file))]
