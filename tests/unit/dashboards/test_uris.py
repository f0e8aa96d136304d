"""What is hidden of a URI, and what is not."""

import pytest

from rml_dashboards.contract.uris import has_secrets, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/mlflow", "postgresql://me:***@db:5432/mlflow"),
        ("s3://AKIA:s3cret@bucket/runs", "s3://AKIA:***@bucket/runs"),
        ("s3://AKIA:s3/cr@et@bucket/runs", "s3://AKIA:***@bucket/runs"),
        ("https://:s3cret@host/x", "https://:***@host/x"),
        ("s3://bucket/x?region=eu&secret_key=s3cret", "s3://bucket/x?region=eu&secret_key=***"),
        ("abfs://c@a/x?sas_token=s3cret&v=1", "abfs://c@a/x?sas_token=***&v=1"),
        ("http://host?X-Amz-Signature=s3cret", "http://host?X-Amz-Signature=***"),
        ("cannot open mysql://a:s3cret@h/d: refused", "cannot open mysql://a:***@h/d: refused"),
    ],
)
def test_secrets_are_hidden(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
    assert has_secrets(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////tmp/out/mlflow.db",
        "http://localhost:5000",
        "s3://bucket/runs?region=eu-west-1&scheme=https",
        "gs://bucket/a:b@c",
        "hdfs://namenode:8020/user/a@b",
        "http://host:5000?x=a@b",
        "/plain/path",
    ],
)
def test_the_rest_stays_as_it_is(uri: str) -> None:
    assert without_secrets(uri) == uri
    assert not has_secrets(uri)
