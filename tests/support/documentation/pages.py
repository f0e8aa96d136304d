"""The Markdown pages of the repository, taken apart: links, headings and code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[3]
_NOT_OURS = {"outputs", "build", "dist", "mlruns", "mlartifacts"}

REASONS = {
    "images": "real images under the data root",
    "network": "something to download",
    "cluster": "a Ray cluster, object storage or an MLflow server",
    "gpu": "a GPU for days",
    "minutes": "minutes of training, measuring or installing",
    "server": "it goes on until it is stopped",
}
"""Why a shell block cannot run in a test: ```` ```sh needs=images ````."""


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: Path
    line: int
    """Line of its first line of code."""
    language: str
    info: str
    """What stands behind the language: `study`, `part of row`, `needs=cluster`."""
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or picture of a page."""

    page: Path
    line: int
    target: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @cached_property
    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def blocks(self) -> list[Block]:
        return list(self._fenced())

    def _fenced(self) -> Iterator[Block]:
        opened: re.Match[str] | None = None
        start = 0
        for number, line in enumerate(self.lines, start=1):
            if opened is None:
                opened = re.match(r"^( *)```(\S*) ?(.*)$", line)
                start = number + 1
            elif line.strip() == "```":
                inside = self.lines[start - 1 : number - 1]
                text = "\n".join(one.removeprefix(opened[1]) for one in inside)
                yield Block(self.path, start, opened[2], opened[3].strip(), text + "\n")
                opened = None
        assert opened is None, f"{self.path}:{start - 1}: a code block that is never closed"

    @cached_property
    def prose(self) -> list[tuple[int, str]]:
        """Numbered lines outside of code blocks."""
        inside = {
            number
            for block in self.blocks
            for number in range(block.line - 1, block.line + block.text.count("\n") + 1)
        }
        return [
            (number, line)
            for number, line in enumerate(self.lines, start=1)
            if number not in inside
        ]

    @cached_property
    def links(self) -> list[Link]:
        text = "\n".join(f"{number}\t{line}" for number, line in self.prose)
        without_code = re.sub(r"`[^`\n]*`", "", text)
        return [
            Link(self.path, int(line.partition("\t")[0]), target)
            for line in without_code.splitlines()
            for target in re.findall(r"\]\(([^)\s]+)\)", line)
        ]

    @cached_property
    def code_spans(self) -> list[tuple[int, str]]:
        return [
            (number, span) for number, line in self.prose for span in re.findall(r"`([^`]+)`", line)
        ]

    @cached_property
    def anchors(self) -> set[str]:
        """Anchors of the headings, as GitHub makes them."""
        anchors: list[str] = []
        for _, line in self.prose:
            if heading := re.match(r"^#{1,6} +(.*?)#* *$", line):
                plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
                slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
                repeats = sum(
                    re.fullmatch(rf"{re.escape(slug)}(-\d+)?", a) is not None for a in anchors
                )
                anchors.append(f"{slug}-{repeats}" if repeats else slug)
        return set(anchors)


def pages() -> list[Page]:
    """Every Markdown file of the repository, none of a virtual environment or of outputs."""
    return [
        Page(path)
        for path in sorted(ROOT.rglob("*.md"))
        if not any(
            part.startswith(".") or part in _NOT_OURS for part in path.relative_to(ROOT).parts
        )
    ]


def blocks(*languages: str) -> list[Block]:
    """Every code block in one of the languages."""
    return [block for page in pages() for block in page.blocks if block.language in languages]
