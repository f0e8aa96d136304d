"""Which images are for training and which for validation, by folders or lists."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

_TRAIN = ("train", "training")
_VAL = ("val", "valid", "validation", "dev", "test", "testing")
"""Beginnings of names, the likelier ones first."""


def subset_settings(names: Sequence[str], listed: Mapping[PurePosixPath, int]) -> dict[str, Any]:
    """Settings for the subsets: by the folders in the names or, where there are none, by lists."""
    first = sorted({name.split("/", 1)[0] for name in names if "/" in name})
    train = _chosen(first, _TRAIN)
    val = _chosen(first, _VAL)
    if train is not None and val is not None:
        return {"train_names": f"{train}/*", "val_names": f"{val}/*"}
    stems = {path.stem: path.as_posix() for path in listed}
    found: dict[str, Any] = {}
    for key, words in (("train_list", _TRAIN), ("val_list", _VAL)):
        stem = _chosen(sorted(stems), words)
        if stem is not None:
            found[key] = stems[stem]
    return found


def subset_notes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be known of subsets that were chosen by their names."""
    val = str(settings.get("val_names") or settings.get("val_list") or "")
    name = PurePosixPath(val.removesuffix("/*")).name
    if not name.lower().startswith("test"):
        return ()
    return (f"nothing is called val: {val} is for validation, though it is called test",)


def _chosen(names: Sequence[str], words: Sequence[str]) -> str | None:
    """The name that is one of the words or begins with it, exact ones first."""
    exact = (name for word in words for name in names if name.lower() == word)
    begins = (
        name
        for word in words
        for name in names
        if name.lower().startswith(word) and name.lower() != "trainval"
    )
    return next(exact, None) or next(begins, None)
