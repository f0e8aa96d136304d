"""A drawn SVG made small enough to stand in a page with many others: what a screen cannot show is
left out, what is drawn stays the same."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import groupby

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
DIGITS = 2
"""Decimals of a coordinate, in points: a hundredth is a seventieth of a pixel."""
NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")
STEPS = re.compile(r"([A-Za-z])([^A-Za-z]*)")
PLACES = ("x", "y")
ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)
QUOTED = str.maketrans({"%": "%25", "#": "%23", "&": "%26", "<": "%3C", ">": "%3E", '"': "'"})
"""What has a meaning in an address or ends an attribute."""


def compact(svg: bytes) -> str:
    """matplotlib's SVG without metadata, comments, unused ids and decimals that nobody sees."""
    root = ET.fromstring(svg)
    for parent in root.iter():
        for child in [one for one in parent if one.tag == f"{{{SVG}}}metadata"]:
            parent.remove(child)
    used = {one.get(HREF, "")[1:] for one in root.iter()}
    for one in root.iter():
        _shorten(one, used)
        if one.tag == f"{{{SVG}}}g":
            _share_looks(one)
    return ET.tostring(root, encoding="unicode")


def data_address(svg: str) -> str:
    """The picture as an address that may stand in double quotes; a quarter shorter than base64."""
    return f"data:image/svg+xml,{svg.translate(QUOTED)}"


def _shorten(one: ET.Element, used: set[str]) -> None:
    if one.tag != f"{{{SVG}}}style":
        one.text = None
    one.tail = None
    if one.tag == f"{{{SVG}}}g" and one.get("id") not in used:
        one.attrib.pop("id", None)
    if "d" in one.attrib:
        one.set("d", _path(one.attrib["d"]))
    for key in PLACES:
        if key in one.attrib:
            one.set(key, NUMBER.sub(_rounded, one.attrib[key]))
    if "style" in one.attrib:
        one.set("style", one.attrib["style"].replace(": ", ":").replace("; ", ";"))


def _path(text: str) -> str:
    """Steps of a path: a letter that repeats is written once, a minus sign parts numbers."""
    last = ""
    parts = []
    for letter, numbers in STEPS.findall(text):
        rounded = " ".join(_short(float(number)) for number in numbers.split())
        is_repeated = letter == last and letter != "M"
        parts.append(f"{' ' if is_repeated else letter}{rounded}")
        last = letter
    return "".join(parts).replace(" -", "-")


def _short(number: float) -> str:
    """`12.5`, `-0.25`, `3`."""
    text = f"{number:.{DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _rounded(match: re.Match[str]) -> str:
    return _short(float(match[0]))


def _share_looks(group: ET.Element) -> None:
    """Markers that follow each other and look the same have their look once, in a group."""
    children = list(group)
    looks = list(_by_look(children))
    if len(looks) == len(children):
        return
    for child in children:
        group.remove(child)
    for look, own in looks:
        if not look or len(own) == 1:
            group.extend(own)
            continue
        shared = ET.SubElement(group, f"{{{SVG}}}g", {"style": look})
        for child in own:
            child.attrib.pop("style")
        shared.extend(own)


def _by_look(children: list[ET.Element]) -> Iterator[tuple[str, list[ET.Element]]]:
    """Neighbours by their look; empty for what is no marker."""

    def look(one: ET.Element) -> str:
        return one.get("style", "") if one.tag == f"{{{SVG}}}use" else ""

    return ((style, list(own)) for style, own in groupby(children, look))
