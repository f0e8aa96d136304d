"""Pages of HTML, taken apart by tests."""

from html.parser import HTMLParser

MARKUP = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td></table>", "&lt;")
"""Names that would be markup if they were not escaped."""


class Read(HTMLParser):
    """Elements of a page with their attributes and the text within each."""

    VOID = ("meta", "br", "img", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._inside: list[int] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(tag)
            self._inside.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        for place in self._inside:
            self.elements[place][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [
            "".join(text).strip()
            for name, own, text in self.elements
            if name == tag and all(own.get(k) == v for k, v in attributes.items())
        ]
