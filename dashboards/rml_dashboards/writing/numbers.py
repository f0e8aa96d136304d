"""Numbers as texts: one minus, U+2212, and no nought that is negative."""

MINUS = "−"


def number_text(value: float, digits: int) -> str:
    """`62.1` or `−0.4`; what rounds to nought has no sign."""
    text = f"{value:.{digits}f}"
    if not text.startswith("-"):
        return text
    return text[1:] if float(text) == 0 else f"{MINUS}{text[1:]}"


def signed_text(value: float, digits: int) -> str:
    """`+0.3`, `−1.2`, or `±0.0` for what rounds to nought."""
    rounded = round(value, digits)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{abs(rounded):.{digits}f}"
