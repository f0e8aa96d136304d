"""Tables to the terminal, to Markdown and to JSON, each with its date and its machine."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rml_benchmarks.measuring.machine import this_machine
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.measuring.timing import Comparison

Result = Comparison | Table


class Publisher:
    """Takes the sections of one benchmark run as they are finished; what was published stays if a
    later one fails, and a Markdown file has every table as soon as it is there.

    Args:
        setting: one line that says what was benchmarked.
        json_file: receives figures and machine; rewritten with every section.
        markdown_file: dated tables are appended to it.
    """

    def __init__(
        self, setting: str, *, json_file: Path | None = None, markdown_file: Path | None = None
    ) -> None:
        self._setting = setting
        self._json_file = json_file
        self._markdown_file = markdown_file
        self._sections: list[dict[str, Any]] = []

    def section(self, title: str, results: Iterable[Result]) -> None:
        """Print each table as soon as it is there, under date and machine, and append it to the
        Markdown file; the JSON file is written in the end."""
        machine = this_machine()
        tables = list[dict[str, Any]]()
        head = "\n\n".join([f"## {title}, {machine.date}", str(machine), self._setting])
        print(head, flush=True)
        for result in results:
            text = result.markdown()
            tables.append(dataclasses.asdict(result))
            print(f"\n{text}", flush=True)
            self._append(text if len(tables) > 1 else f"{head}\n\n{text}")
        print(flush=True)
        if not tables:
            self._append(head)
        if self._json_file is not None:
            self._sections.append(
                {"title": title, "machine": dataclasses.asdict(machine), "tables": tables}
            )
            document = {"setting": self._setting, "sections": self._sections}
            self._json_file.write_text(
                json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )

    def _append(self, text: str) -> None:
        if self._markdown_file is not None:
            with self._markdown_file.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n\n")
