"""What is hidden of a URI, and what is not."""

import pytest

from rml_dashboards.contract.uris import has_secrets, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/mlflow", "postgresql://me:***@db:5432/mlflow"),
        ("postgresql+psycopg2://me:s3cret@db/mlflow", "postgresql+psycopg2://me:***@db/mlflow"),
        ("postgresql://me:12/34@db/mlflow", "postgresql://me:***@db/mlflow"),
        ("postgresql://me:s3cret with spaces@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me: s3cret@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:s3@c ret@db/x", "postgresql://me:***@db/x"),
        ("postgresql://my name:s3cret@db/x", "postgresql://my name:***@db/x"),
        ("postgresql://me:s3:cr?e#t@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me%3As3cret@db/x", "postgresql://***@db/x"),
        ("s3://AKIA:s3cret@bucket/runs", "s3://AKIA:***@bucket/runs"),
        ("S3://AKIA:s3cret@bucket/runs", "S3://AKIA:***@bucket/runs"),
        ("s3://AKIA:s3/cr@et@bucket/runs", "s3://AKIA:***@bucket/runs"),
        ("s3://K:12/xyz@bucket", "s3://K:***@bucket"),
        ("s3://K:12345/xyz+=@bucket/runs", "s3://K:***@bucket/runs"),
        ("s3://K:12 345@bucket", "s3://K:***@bucket"),
        ("s3://K:12345@bucket", "s3://K:***@bucket"),
        ("s3://s3cret@bucket/runs", "s3://***@bucket/runs"),
        ("gs://s3cret@bucket/runs", "gs://***@bucket/runs"),
        ("other://K:12/xyz@place", "other://K:***@place"),
        ("://K:s3cret@place", "://K:***@place"),
        ("https://:s3cret@host/x", "https://***@host/x"),
        ("http://s3cret@host", "http://***@host"),
        ("http://s3cret:@host", "http://***@host"),
        ("http://s3@cret@host/x", "http://***@host/x"),
        ("http://s3@cr:et@host/x", "http://***@host/x"),
        ("https://s3cret:x-oauth-basic@host/x", "https://***@host/x"),
        ("http://me:5000@host", "http://***@host"),
        ("http://me:500000/ab@host:5000", "http://***@host:5000"),
        ("hdfs://me:s3cret@namenode:8020/a", "hdfs://me:***@namenode:8020/a"),
        ("s3://bucket/x?region=eu&secret_key=s3cret", "s3://bucket/x?region=eu&secret_key=***"),
        ("abfs://c@a/x?sas_token=s3cret&v=1", "abfs://c@a/x?sas_token=***&v=1"),
        ("http://host?X-Amz-Signature=s3cret", "http://host?X-Amz-Signature=***"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme", "mssql+pyodbc:///?odbc_connect=***"),
        ("mysql://h/d?passwd=s3'cret", "mysql://h/d?passwd=***"),
    ],
)
def test_secrets_are_hidden(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
    assert has_secrets(uri)
    assert not has_secrets(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open mysql://a:s3cret@h/d: refused", "cannot open mysql://a:***@h/d: refused"),
        (
            "mysql://a:s3cret@h/d: Access denied for user 'a'@'h'",
            "mysql://a:***@h/d: Access denied for user 'a'@'h'",
        ),
        (
            "from s3://K:s3cret@b\nto http://host:5000 and gs://s3cret@c",
            "from s3://K:***@b\nto http://host:5000 and gs://***@c",
        ),
        ("'http://h?token=s3cret' (of a@b)", "'http://h?token=***' (of a@b)"),
    ],
)
def test_secrets_in_a_sentence_are_hidden_and_its_reason_is_not(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////tmp/out/mlflow.db",
        "sqlite:////tmp/a:b@c.db",
        "file:///home/anna@example.org/a:b@c",
        "http://localhost:5000",
        "http://localhost:5000/a@b",  # to every client a port and a path
        "http://[::1]:5000/a@b",
        "http://[::1]/a:b@c",
        "postgresql://[2001:db8::1]:5432/d?x=a@b",
        "MLflow at http://localhost:5000: no answer, tell me@host",
        "s3://bucket/runs?region=eu-west-1&scheme=https",
        "s3://bucket/path@1",
        "s3://bucket/anna@example.org/runs",
        "s3://bucket/12:34@56",
        "s3://bucket/a b:c@d",
        "gs://bucket/a:b@c",
        "gs://anonymous@bucket/runs",
        "abfs://container@account.dfs.core.windows.net/a@b",
        "hdfs://namenode:8020/user/a@b",
        "hdfs://me@namenode:8020/user/a@b",
        "http://host:5000?x=a@b",
        "postgresql://me@db:5432/mlflow",
        "postgresql://me:@db/mlflow",
        "postgresql://host/db?x=a@b",
        "anna@example.org: a:b@c",
        "/plain/path",
        "/plain/a:b@c",
    ],
)
def test_the_rest_stays_as_it_is(uri: str) -> None:
    assert without_secrets(uri) == uri
    assert not has_secrets(uri)
