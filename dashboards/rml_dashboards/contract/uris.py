"""URIs as a person may see them: in messages, reports and logs."""

import re

HIDDEN = "***"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)?://", re.IGNORECASE)
_NAME_AND_SECRET = re.compile(
    r"(?P<name>(?:(?!\s['\"(<])[^/?#:@\n])*):(?P<secret>(?:(?!:\s|\s['\"(<])[^\n])+)@"
)
"""Up to the last `@` of a line, since a secret may hold `/`, `@` and spaces; but not into the words
that follow a URI in a message."""
_BEFORE_HOST = re.compile(r"[^/?#\s]+@")
_HOST_AND_PORT = re.compile(
    r"(?:\[[0-9a-f:.]+\]|[^/?#:@\s]*):\d{1,5}(?=[/?#\s]|[,;:.)'\"\]>]*(?:\s|$))", re.IGNORECASE
)
_IPV6 = re.compile(r"\[[0-9a-f.]*:[0-9a-f:.]+\](?=[/?#:\s]|$)", re.IGNORECASE)
_WEB = frozenset({"http", "https"})
_WITH_PORT = _WEB | {"ftp", "hdfs", "ray", "sftp", "ssh", "tcp", "viewfs", "webhdfs"}
"""What reads `name:8020/path` as host and port, whatever the path holds. A database reads all up to
an `@` as name and password, and a bucket has no port."""
_WITH_NAME = (
    {"abfs", "abfss", "wasb", "wasbs"}  # the container of an account
    | {"hdfs", "viewfs", "webhdfs", "sftp", "ssh"}
    | {"mariadb", "mssql", "mysql", "oracle", "postgres", "postgresql"}
)
"""What has a name alone before the `@`. Elsewhere that may be a token."""
_PLAIN_NAME = re.compile(r"[\w.-]+:?@")
_ANONYMOUS = "anonymous@"
"""How Google's storage is told that there is no secret."""
_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:secret|token|pass|pwd|signature|credential|key|sig|sas|odbc_connect)[^=&\s]*=)"
    r"(?:[^&\s'\"]|['\"](?=\w))+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """A URI, or a text that holds some, without passwords, tokens and secret parameters.

    In doubt more is hidden: of `mysql://host:3306/a@b` all before the `@` could be a password.
    """
    shown = ""
    left = text
    while found := _SCHEME.search(left):
        rest = left[found.end() :]
        length, instead = _secret(frozenset((found[1] or "").lower().split("+")), rest)
        shown += left[: found.end()] + instead
        left = rest[length:]
    return _PARAMETER.sub(rf"\1{HIDDEN}", shown + left)


def has_secrets(uri: str) -> bool:
    """Whether `without_secrets` leaves something out."""
    return without_secrets(uri) != uri


def _secret(kinds: frozenset[str], rest: str) -> tuple[int, str]:
    """How much at the beginning of what follows `://` must not be shown, and what to show instead.

    Args:
        kinds: parts of the scheme, `postgresql` and `psycopg2`.
    """
    if _IPV6.match(rest) or (kinds & _WITH_PORT and _HOST_AND_PORT.match(rest)):
        return 0, ""
    if both := _NAME_AND_SECRET.match(rest):
        # A token may stand in the place of the name: https://TOKEN:x-oauth-basic@host.
        name = "" if kinds & _WEB else f"{both['name']}:"
        return both.end(), f"{name}{HIDDEN}@"
    alone = _BEFORE_HOST.match(rest)
    is_name = bool(kinds & _WITH_NAME) and alone is not None and _PLAIN_NAME.fullmatch(alone[0])
    if alone is None or is_name or alone[0] == _ANONYMOUS:
        return 0, ""
    return alone.end(), f"{HIDDEN}@"
