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
    later one fails.

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
        """Print each table as soon as it is there, under date and machine; then write what was
        asked for."""
        machine = this_machine()
        tables = list[dict[str, Any]]()
        texts = [f"## {title}, {machine.date}", str(machine), self._setting]
        print("\n\n".join(texts), flush=True)
        for result in results:
            texts.append(result.markdown())
            tables.append(dataclasses.asdict(result))
            print(f"\n{texts[-1]}", flush=True)
        print(flush=True)
        if self._markdown_file is not None:
            with self._markdown_file.open("a", encoding="utf-8") as file:
                file.write("\n\n".join(texts) + "\n\n")
        if self._json_file is not None:
            self._sections.append(
                {"title": title, "machine": dataclasses.asdict(machine), "tables": tables}
            )
            document = {"setting": self._setting, "sections": self._sections}
            self._json_file.write_text(
                json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
