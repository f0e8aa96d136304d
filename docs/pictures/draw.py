"""Draws the pictures of the README from the recorded runs of the demo: `make pictures`.

The table is what `rml tables` prints in a terminal; the figure is the first that `rml figures`
draws. An argument names another folder than `outputs` in which the demo was run.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
STUDY = "search_spaces/demo.yaml"
NUM_COLUMNS = 80
MAX_BYTES = 150_000

# rich's own template names a web font, which a picture in a README cannot load.
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
     width="{width}" height="{height}"
     font-family="Menlo, Consolas, 'DejaVu Sans Mono', monospace">
<style>
.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<rect fill="#292929" width="{width}" height="{height}" rx="8"/>
<g transform="translate(8, 16)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Write both pictures beside this file. Raises SystemExit where a command of rml fails."""
    out = sys.argv[1] if len(sys.argv) > 1 else "outputs"
    with tempfile.TemporaryDirectory() as folder:
        printed = rml("tables", STUDY, "--out", out, "--to", folder)
        write("demo_table.svg", table_picture(printed, folder))
        drawn = rml("figures", STUDY, "--out", out, "--to", folder).splitlines()
        first = next(Path(file) for file in drawn if file.endswith(".svg"))
        write("demo_figure.svg", first.read_text(encoding="utf-8"))


def rml(*words: str) -> str:
    """What a command of rml prints, with colours."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(NUM_COLUMNS)}
    program = shutil.which("rml", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = subprocess.run(
        [program or "rml", *words],
        cwd=HERE.parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"rml {' '.join(words)} ended with exit code {done.returncode}")
    return done.stdout


def table_picture(printed: str, folder: str) -> str:
    """The printed table as SVG, without the paths of the files that follow it."""
    lines = [line for line in printed.splitlines() if not line.startswith(folder)]
    console = Console(record=True, width=NUM_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines)))
    return console.export_svg(code_format=TEMPLATE, unique_id="table")


def write(name: str, picture: str) -> None:
    """Write one picture; one that would make the README slow to open is refused."""
    size = len(picture.encode())
    if size > MAX_BYTES:
        sys.exit(f"{name}: {size} bytes, more than {MAX_BYTES}")
    (HERE / name).write_text(picture, encoding="utf-8")
    print(f"{HERE / name}: {size} bytes")


if __name__ == "__main__":
    main()
