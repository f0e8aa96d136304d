"""URIs as a person may see them: in messages, reports and logs."""

import re

HIDDEN = "***"
_PASSWORD = re.compile(r"(://[^/@:\s]*):(?!\d{1,5}(?:[/?\s]|$))[^\s]+@")
"""Up to the last `@`, since a secret key may hold `/` and `@`; a port with a path is none."""
_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:secret|token|password|passwd|signature|credential|key|sig|sas)[^=&\s]*=)"
    r"[^&\s'\"]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """A URI, or a text that holds some, without passwords and secret parameters."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1:{HIDDEN}@", text))


def has_secrets(uri: str) -> bool:
    """Whether `without_secrets` leaves something out."""
    return without_secrets(uri) != uri
