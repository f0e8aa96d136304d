"""Commands of the documentation: each is one that its program knows, run or not."""

import re

import pytest

from tests.support.documentation.command_lines import (
    UnknownCommandError,
    check,
    check_span,
    commands,
)
from tests.support.documentation.pages import REASONS, Block, Page, blocks, pages

SHELL = blocks("sh", "bash", "shell", "console")


def place(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", SHELL, ids=place)
def test_a_documented_command_is_known(block: Block) -> None:
    assert block.language == "sh", f"{block.place}: write ```sh"
    for words in commands(block):
        try:
            check(words)
        except UnknownCommandError as error:
            raise AssertionError(f"{block.place}: {error}") from error


@pytest.mark.parametrize("block", SHELL, ids=place)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    known = ", ".join(f"needs={reason}" for reason in REASONS)
    reason = block.info.removeprefix("needs=")
    assert not block.info or (block.info != reason and reason in REASONS), (
        f"{block.place}: {block.info!r} is not one of {known}"
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.parent.name)
def test_commands_within_the_text_are_known(page: Page) -> None:
    wrong = []
    for number, span in page.code_spans:
        if re.match(r"^rml( |$)", span) and page.path.name != "CHANGELOG.md":
            try:
                check_span(span)
            except UnknownCommandError as error:
                wrong.append(f"{page.path}:{number}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.parent.name)
def test_no_command_hides_from_the_tests_in_an_indented_block(page: Page) -> None:
    hidden = [
        f"{page.path}:{number}: {line.strip()}"
        for number, line in page.prose
        if re.match(r"^ {4,}(\w+=\S+ )?(rml|make|mlflow|python -m rml_benchmarks) [a-z]", line)
    ]
    assert not hidden, "write a fenced block, ```sh\n" + "\n".join(hidden)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("rml bench step", "no command bench"),
        ("rml launch", "Missing argument"),
        ("rml launch study.yaml --sett a=1", "--sett"),
        ("rml data split voc", "no command split"),
        ("rml run a.yaml b.yaml", "unexpected extra argument"),
        ("make benches", "no target benches"),
        ("mlflow ui --workerz 1", "--workerz"),
        ("python -m rml_benchmarks stepp", "stepp"),
        ("pip install rml", "teach"),
    ],
)
def test_a_wrong_command_is_found(line: str, part: str) -> None:
    with pytest.raises(UnknownCommandError, match=part):
        check(line.split())


@pytest.mark.parametrize("span", ["rml bench", "rml data split", "rml plan --sett"])
def test_a_wrong_command_within_the_text_is_found(span: str) -> None:
    with pytest.raises(UnknownCommandError):
        check_span(span)
