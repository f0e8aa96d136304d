"""The house rules that a program can check: folders, import directions, sizes, portability."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "rml_trainers": ROOT / "trainers" / "rml_trainers",
    "rml_platform": ROOT / "platform" / "rml_platform",
    "rml_dashboards": ROOT / "dashboards" / "rml_dashboards",
}
SOURCES = sorted(file for folder in PACKAGES.values() for file in folder.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXTS = [ROOT / name for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run")]
TEXTS += sorted(ROOT.glob("*.md"))
DEPLOY = "deploy"
"""Folder beside the platform's package: files for clusters, no code of ours."""
TEXTS += [ROOT / "platform" / DEPLOY / name for name in ("Dockerfile", "slurm.sh")]
TEXTS += [
    file
    for folder in ("search_spaces", "platform", "trainers", "dashboards", "docs", "tests")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in (".md", ".yaml", ".j2")
]
BENCHMARKS = ROOT / "tests" / "benchmarks" / "rml_benchmarks"
ROOMS = sorted(
    file.parent
    for package in (*PACKAGES.values(), BENCHMARKS)
    for file in package.rglob("__init__.py")
)
"""Every folder of code."""
TEST_ROOMS = sorted({file.parent for file in TESTS} - set(ROOMS))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_SIBLINGS = 13
"""Files and folders side by side; README.md, __init__.py and py.typed are not counted."""
MAX_SIBLINGS_OF_A_PACKAGE = 16
"""The same at the top of a package, where its rooms stand beside the few files that all of them
share."""
MAX_README_LINES = 16
NOT_COUNTED = {"README.md", "__init__.py", "py.typed", "__pycache__"}
MAY_NOT_IMPORT = {
    "rml_trainers": {
        "rml_platform",
        "rml_dashboards",
        "ray",
        "mlflow",
        "pandas",
        "pydantic",
        "typer",
    },
    "rml_platform": set[str](),
    "rml_dashboards": {"rml_platform", "rml_trainers", "ray", "torch"},
}


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything that a file imports, at the top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _top_level_imports(tree: ast.Module) -> set[str]:
    return {
        name.split(".")[0]
        for statement in tree.body
        for name in _imports(statement)
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
    }


def test_every_folder_of_code_holds_exactly_one_package() -> None:
    for package, folder in PACKAGES.items():
        siblings = {
            path.name
            for path in folder.parent.iterdir()
            if path.is_dir() and path.name != "__pycache__"
        }
        allowed = {DEPLOY} if package == "rml_platform" else set[str]()
        assert siblings - allowed == {package}, f"{folder.parent.name}/ holds {sorted(siblings)}"
        assert (folder / "__init__.py").is_file()
        assert (folder / "py.typed").is_file()
    assert not list(ROOT.glob("*/__init__.py")), (
        "an __init__.py in a root folder hides standard modules (platform)"
    )


def test_files_that_the_root_shows() -> None:
    expected = (
        "README.md",
        "LICENSE",
        "CONTRIBUTING.md",
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        ".ci/run",
    )
    missing = [
        name
        for name in expected
        if not (ROOT / name).is_file() or not (ROOT / name).read_text().strip()
    ]
    assert not missing


def test_standard_platform_module_works_from_the_root() -> None:
    code = (
        "import platform; print(platform.system()); import rml_platform; "
        "print(rml_platform.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "rml_platform"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = {
        f"{_name(file)} imports {name}"
        for file in PACKAGES[package].rglob("*.py")
        for name in _imports(ast.parse(file.read_text()))
        if name.split(".")[0] in MAY_NOT_IMPORT[package]
    }
    assert not wrong


def test_platform_reaches_the_dashboards_only_from_its_commands() -> None:
    """The contract, the names that both sides record and read by, is open to all of it."""
    folder = PACKAGES["rml_platform"]
    wrong = [
        f"{_name(file)} imports {name}"
        for file in folder.rglob("*.py")
        if not any(file.is_relative_to(folder / room) for room in ("commands", "views"))
        for name in _imports(ast.parse(file.read_text()))
        if name.startswith("rml_dashboards") and not name.startswith("rml_dashboards.contract.")
    ]
    assert not wrong


def test_a_command_imports_nothing_heavy_before_it_runs() -> None:
    """`rml --help` must not wait for torch: command modules that cli.py imports take typer and the
    options only."""
    cli = PACKAGES["rml_platform"] / "cli.py"
    light = {"typer", "rml_platform", "rml_trainers", *sys.stdlib_module_names}
    assert _top_level_imports(ast.parse(cli.read_text())) <= light
    code = "import sys, rml_platform.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "ray", "mlflow", "pydantic", "pandas", "numpy", "yaml"} & set(loaded)


READING = (
    "rml_platform.planning.plan_file.find_plan",
    "rml_platform.run.many_runs",
    "rml_platform.views.run_table",
    "rml_platform.views.runs.status_text",
    "rml_platform.launch.scheduling.queue_state",
    "rml_dashboards.studies.table",
    "rml_dashboards.studies.figures",
)


def test_reading_a_plan_imports_nothing_heavy() -> None:
    """What `rml status` and `cancel` are made of, and `tables` and `figures` before they open a
    store."""
    code = f"import sys, {', '.join(READING)}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "ray", "mlflow", "pandas", "sqlalchemy", "timm"} & set(loaded)


@pytest.mark.parametrize("file", SOURCES + TESTS, ids=_name)
def test_size(file: Path) -> None:
    text = file.read_text()
    num_lines = len(text.splitlines())
    assert num_lines <= MAX_FILE_LINES, (
        f"{_name(file)} has {num_lines} lines; split it by responsibility"
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{_name(file)}: {node.name} has {length} lines"


@pytest.mark.parametrize("room", ROOMS + TEST_ROOMS, ids=_name)
def test_a_room_is_seen_at_a_glance(room: Path) -> None:
    siblings = {path.name for path in room.iterdir()} - NOT_COUNTED
    is_package = room in PACKAGES.values()
    assert len(siblings) <= (MAX_SIBLINGS_OF_A_PACKAGE if is_package else MAX_SIBLINGS), (
        f"{_name(room)} holds {len(siblings)} files and folders; give some a room of their own"
    )


def test_every_room_says_what_lives_in_it() -> None:
    readmes = {room: room / "README.md" for room in ROOMS}
    wrong = [f"{_name(room)}: no README.md" for room, file in readmes.items() if not file.is_file()]
    for room, file in readmes.items():
        num_lines = len(file.read_text().splitlines()) if file.is_file() else 0
        if num_lines > MAX_README_LINES:
            wrong.append(f"{_name(room)}: README.md has {num_lines} lines; docs/ is for the rest")
        if not ast.get_docstring(ast.parse((room / "__init__.py").read_text())):
            wrong.append(f"{_name(room)}: __init__.py has no docstring")
    assert not wrong, "\n".join(wrong)


def _assigns_in_parallel(node: ast.AST) -> bool:
    """`a, b = x, y`, which says in one statement what two would; `a, b = b, a` swaps."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    given = sorted(map(ast.unparse, node.value.elts))
    return any(
        isinstance(target, ast.Tuple) and sorted(map(ast.unparse, target.elts)) != given
        for target in node.targets
    )


@pytest.mark.parametrize("file", SOURCES + TESTS, ids=_name)
def test_a_statement_assigns_one_thing(file: Path) -> None:
    lines = [
        f"{_name(file)}:{node.lineno}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assign) and _assigns_in_parallel(node)
    ]
    assert not lines, f"two statements are clearer: {', '.join(lines)}"


@pytest.mark.parametrize(
    ("statement", "is_parallel"),
    [
        ("a, b = x, y", True),
        ("a, b = b, c", True),
        ("(a, b), c = x, y", True),
        ("a = b, c = x, y", True),
        ("a, b = b, a", False),
        ("a[0], a[1] = a[1], a[0]", False),
        ("a, b = both()", False),
        ("a = x, y", False),
        ("a = b = x", False),
    ],
)
def test_parallel_assignments_are_told_from_swaps(statement: str, is_parallel: bool) -> None:
    assert _assigns_in_parallel(ast.parse(statement).body[0]) is is_parallel


@pytest.mark.parametrize("file", SOURCES, ids=_name)
def test_every_module_says_what_it_is(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{_name(file)} has code and no docstring"


FORBIDDEN = {
    "an absolute path": re.compile(
        r"[\"'\s=(](/home/|/root/|/wor[k]/|/Users/|/mnt/|/data/|[A-Z]:\\)"
    ),
    "a private host or address": re.compile(
        r"\b(10|192\.168|172\.(1[6-9]|2\d|3[01]))\.\d+\.\d+\b|[a-z]\.internal[:/]"
    ),
    "a number of an issue": re.compile(r"\b[Ii]ssues? #?\d"),
    "a package index": re.compile(r"--(extra-)?index-url|pypi\.org/simple|find-links"),
    "loading of pickles": re.compile(
        r"weights_only\s*=\s*False|pickle\.loads?\(|yaml\.(unsafe_)?load\(|torch\.load\((?!.*weights_only)"
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_ties_the_project_to_one_machine_or_opens_it(what: str) -> None:
    found = [
        f"{_name(file)}:{number}: {line.strip()}"
        for file in SOURCES + TEXTS
        if file.is_file()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if FORBIDDEN[what].search(line)
    ]
    assert not found, "\n".join(found)


def test_no_asserted_time_in_tests() -> None:
    """A slow machine is no bug: tests never assert how long something took."""
    timed = re.compile(r"assert.*\b(elapsed|duration(?!\()|perf_counter|monotonic\(\))")
    found = [
        f"{_name(file)}: {line.strip()}"
        for file in TESTS
        if file != Path(__file__)
        for line in file.read_text().splitlines()
        if timed.search(line)
    ]
    assert not found


def test_every_temporary_folder_of_the_platform_is_one_that_is_swept() -> None:
    """A process that is killed leaves its folder, with checkpoints in it: only those that name
    their process are found and removed."""
    own = {"files/temporary.py"}
    makers = [
        str(file)
        for file in (ROOT / "platform" / "rml_platform").rglob("*.py")
        if re.search(r"\b(TemporaryDirectory|mkdtemp)\(", file.read_text())
        and "chaos" not in file.parts
        and "/".join(file.parts[-2:]) not in own
    ]
    assert makers == []
