"""Pages of HTML that stand alone: one file, nothing fetched from anywhere, every text escaped."""

import html
from collections.abc import Iterable, Mapping

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a page without scripts may load: nothing but itself. A page's own script is named by its
hash."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --paper: #fff; --line: #d0d7de;
  --soft: #f6f8fa; --link: #0550ae; --good: #1a7f37; --bad: #b42318; --warn: #8a5300;
  --busy: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9da7b3; --paper: #0d1117;
  --line: #3d444d; --soft: #161b22; --link: #79b8ff; --good: #56d364; --bad: #ff8f85;
  --warn: #f0b45a; --busy: #79c0ff; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 3rem); max-width: 110rem; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.6rem 0 0.4rem; }
th, td { padding: 0.25rem 0.7rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tbody th, th:first-child { text-align: left; font-weight: 400; }
tbody th { white-space: normal; min-width: 8rem; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr.group th { font-style: italic; color: var(--dim); padding-top: 0.7rem; }
.runs td { text-align: left; }
.best { font-weight: 700; }
.second { text-decoration: underline; }
.reported, .missing, .imported { color: var(--dim); }
.partial, .stopped, .stale { color: var(--warn); }
.running { color: var(--busy); }
.failed, .unscored, .mixed { color: var(--bad); }
.note { color: var(--dim); font-size: 0.9rem; max-width: 75ch; }
.warning { color: var(--warn); }
code { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
"""


def escaped(text: object) -> str:
    """A text that is nothing but text in an element or in a quoted attribute."""
    return html.escape(str(text), quote=True)


def element(name: str, text: object, **attributes: object) -> str:
    """An element that holds a text; `_` in the name of an attribute stands for `-`."""
    return f"<{name}{attributes_text(attributes)}>{escaped(text)}</{name}>"


def attributes_text(attributes: Mapping[str, object]) -> str:
    """Attributes of an element, those that are None or empty left out."""
    return "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )


def page(title: str, parts: Iterable[str], *, style: str = "", policy: str = POLICY) -> str:
    """A whole document. `parts` are pieces of HTML."""
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">',
        '<meta name="referrer" content="no-referrer">',
        element("title", title),
        f"<style>\n{STYLE}{style}</style>",
    ]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>"]
    return "\n".join([*lines, *parts, "</body>", "</html>"]) + "\n"
