"""Output that any terminal or pipe takes: what its encoding does not have is written in other
characters, and never ends a command."""

import codecs
import io
import sys
import unicodedata

HANDLER = "rml_plain"
ASCII = "rml_ascii"
_PLAIN = str.maketrans(
    {
        "→": "->",
        "…": "...",
        "±": "+-",
        "×": "x",
        "·": ".",
        "–": "-",
        "—": "-",
        "−": "-",
        "≤": "<=",
        "≥": ">=",
        "≈": "~",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "✓": "ok",
        "✗": "x",
        "•": "*",
    }
)
_LINES = {"HORIZONTAL": "-", "VERTICAL": "|"}


def write_plainly() -> None:
    """Let standard output and standard error take every text, file names that are no Unicode
    included."""
    codecs.register_error(HANDLER, _plain)
    codecs.register(_ascii)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=ASCII if is_ascii else None, errors=HANDLER)


def plain(text: str) -> str:
    """A text in ASCII, as near to it as can be read; what has no likeness as its code point."""
    return "".join(_plain_character(character) for character in text)


def _plain_character(character: str) -> str:
    known = character.translate(_PLAIN)
    if known.isascii():
        return known
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return next((line for word, line in _LINES.items() if name.endswith(word)), "+")
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError), "streams are written to"
    return plain(error.object[error.start : error.end]), error.end


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: typer takes a stream called ASCII for a mistake, and writes UTF-8
    to it."""
    if name != ASCII:
        return None
    found = codecs.lookup("ascii")
    return codecs.CodecInfo(
        found.encode,
        found.decode,
        incrementalencoder=found.incrementalencoder,
        incrementaldecoder=found.incrementaldecoder,
        streamreader=found.streamreader,
        streamwriter=found.streamwriter,
        name=ASCII,
    )
