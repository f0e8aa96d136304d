"""Tracking URIs: those of SQLite files against what SQLAlchemy and MLflow make of them."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy.engine import make_url

from rml_dashboards.contract.store_uri import (
    VARIABLE,
    shown_uri,
    sqlite_file,
    sqlite_uri,
    with_driver,
    without_litter,
)

PATHS = ["/tmp/a/mlflow.db", "/a b/ü#é.db", "/100%/x.db", "/a%20b/x.db", "/what?/%3F&=x.db", "x.db"]


@pytest.mark.parametrize("path", PATHS)
def test_the_uri_of_a_file_is_read_back_by_us_and_by_sqlalchemy(path: str) -> None:
    uri = sqlite_uri(Path(path))
    assert sqlite_file(uri) == Path(path)
    assert make_url(uri).database == path
    assert not make_url(uri).query


@pytest.mark.parametrize("uri", ["sqlite:////a/b.db", "sqlite:////tmp/100%/b.db"])
def test_a_plain_uri_stays_as_people_write_it(uri: str) -> None:
    assert sqlite_uri(Path(uri.removeprefix("sqlite:///"))) == uri


def test_options_and_drivers_of_a_uri_are_no_part_of_the_file() -> None:
    assert sqlite_file("sqlite+pysqlite:////a/b.db?timeout=5") == Path("/a/b.db")


@pytest.mark.parametrize("uri", ["http://a/b.db", "sqlite://", "sqlite:///:memory:", "none"])
def test_other_stores_have_no_file(uri: str) -> None:
    assert sqlite_file(uri) is None


@pytest.mark.parametrize("deep", [False, True])
def test_mlflow_leaves_no_folder_beside_the_one_that_was_meant(
    empty_store: Path, tmp_path: Path, deep: bool
) -> None:
    folder = tmp_path / "a%20b?" / ("c%25d" if deep else "")
    folder.mkdir(parents=True)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    uri = sqlite_uri(folder / "mlflow.db")
    with without_litter(uri):
        MlflowClient(uri)
    assert [path.name for path in tmp_path.iterdir()] == ["a%20b?"]


def test_a_folder_of_that_name_that_was_there_before_or_holds_something_stays(
    empty_store: Path, tmp_path: Path
) -> None:
    uri = sqlite_uri(tmp_path / "a%20b" / "mlflow.db")
    (tmp_path / "a%20b").mkdir()
    shutil.copyfile(empty_store, tmp_path / "a%20b" / "mlflow.db")
    (tmp_path / "a%2520b").mkdir()
    with without_litter(uri):
        MlflowClient(uri)
    assert (tmp_path / "a%2520b").is_dir()
    other = sqlite_uri(tmp_path / "c%20d" / "mlflow.db")
    with without_litter(other):
        (tmp_path / "c%2520d").mkdir()
        (tmp_path / "c%2520d" / "theirs").touch()
    assert (tmp_path / "c%2520d" / "theirs").is_file()


def test_a_uri_is_shown_without_its_password_and_with_its_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    uri = "postgresql://me:s3@cret@host/db"
    assert shown_uri(uri) == "postgresql://me:***@host/db"
    monkeypatch.setenv(VARIABLE, uri)
    assert shown_uri(uri) == "postgresql://me:***@host/db (set by MLFLOW_TRACKING_URI)"
    assert shown_uri("http://host:5000") == "http://host:5000"


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        ({"psycopg2", "psycopg"}, "postgresql+psycopg2://me@host/db"),
        ({"psycopg"}, "postgresql+psycopg://me@host/db"),
        (set[str](), "postgresql://me@host/db"),
    ],
)
def test_a_driver_that_is_installed_is_named(
    installed: set[str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: object() if name in installed else None
    )
    assert with_driver("postgresql://me@host/db") == wanted
    for other in ("postgresql+asyncpg://host/db", "http://host", "sqlite:///a.db", "none"):
        assert with_driver(other) == other
