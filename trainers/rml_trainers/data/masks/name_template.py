"""Templates of file names: `{stem}_mask.png`, `{folder}/labels/{stem}`.

`{stem}` stands for what an image and its mask have in common, `{folder}/` for any folders in front
of it (none included). A template without a folder takes files of every sub-folder, which is then
part of the name. Suffixes compare without case; a template without one takes any picture's.
"""

import re
from pathlib import PurePosixPath

from rml_trainers.configuration import require
from rml_trainers.data.files import IMAGE_SUFFIXES, composed

PLAIN = "{stem}"
_PARTS = re.compile(r"(\{folder\}/|\{stem\})")


def require_template(text: str, field: str) -> None:
    """The check that settings make: `{stem}` once, `{folder}/` at most once, no other braces."""
    rest = text.replace("{stem}", "", 1).replace("{folder}/", "", 1)
    sound = text.count("{stem}") == 1 and not set("{}*?") & set(rest) and text == text.strip("/ ")
    require(sound, field, text, "a name with {stem} once and, if need be, {folder}/ in front of it")


class NameTemplate:
    """Which files a template means, and what each is called."""

    def __init__(self, text: str) -> None:
        text = composed(text)
        path = PurePosixPath(text)
        self.suffix = path.suffix.lower() if path.suffix.lower() in IMAGE_SUFFIXES else None
        body = text[: -len(path.suffix)] if self.suffix else text
        pattern = "".join(map(_pattern, _PARTS.split(body)))
        any_folder = "" if "/" in body else "(?:(?P<folder>.+)/)?"
        self._pattern = re.compile(any_folder + pattern)

    def name(self, path: PurePosixPath) -> str | None:
        """Name of a file given by its path below the template's folder; None for another file."""
        if self.suffix is not None and path.suffix.lower() != self.suffix:
            return None
        match = self._pattern.fullmatch(composed(path.with_suffix("").as_posix()))
        if match is None:
            return None
        folder = match.groupdict().get("folder")
        return f"{folder}/{match['stem']}" if folder else match["stem"]


def _pattern(part: str) -> str:
    if part == "{folder}/":
        return "(?:(?P<folder>.+)/)?"
    return "(?P<stem>[^/]+)" if part == "{stem}" else re.escape(part)
