"""A run that several files look at."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from tests.support.platform.one_run import RUN


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Output folder of a finished run, and what the command said."""
    folder = tmp_path_factory.mktemp("cli-run")
    (folder / "run.yaml").write_text(RUN)
    done = CliRunner().invoke(
        app, ["run", str(folder / "run.yaml"), "--out", str(folder / "out")], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0, done.output
    return folder, done.output
