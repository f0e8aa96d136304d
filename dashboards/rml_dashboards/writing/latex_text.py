"""Any text as LaTeX that prints it: nothing in it is a command, and pdflatex knows every letter."""

import unicodedata

from rml_dashboards.writing.pipe_table import one_line

SPECIAL = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "\N{NO-BREAK SPACE}": "~",
    "−": r"\ensuremath{-}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "•": r"\textbullet{}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\textcopyright{}",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
    "°": r"\textdegree{}",
    "€": r"\texteuro{}",
    "£": r"\pounds{}",
    "\N{FRACTION SLASH}": "/",
}
LETTERS = {
    "ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L",
    "đ": "dj", "Đ": "DJ", "ð": "dh", "Ð": "DH", "þ": "th", "Þ": "TH", "ı": "i", "ȷ": "j",
}  # fmt: skip
"""Letters that are a command of their own."""
MATHEMATICS = {
    "±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "∘": "circ", "∗": "ast",
    "★": "star", "⊕": "oplus", "⊗": "otimes", "⊙": "odot", "←": "leftarrow", "↑": "uparrow",
    "→": "rightarrow", "↓": "downarrow", "↔": "leftrightarrow", "↕": "updownarrow",
    "↗": "nearrow", "↘": "searrow", "↙": "swarrow", "↖": "nwarrow", "⇐": "Leftarrow",
    "⇒": "Rightarrow", "⇔": "Leftrightarrow", "⇑": "Uparrow", "⇓": "Downarrow", "↦": "mapsto",
    "↳": "hookrightarrow", "↪": "hookrightarrow", "⇌": "rightleftharpoons", "≤": "leq",
    "≥": "geq", "≠": "neq", "≈": "approx", "≡": "equiv", "≃": "simeq", "≅": "cong", "∼": "sim",
    "∝": "propto", "≪": "ll", "≫": "gg", "∞": "infty", "∑": "sum", "∏": "prod", "∫": "int",
    "√": "surd", "✓": "surd", "✔": "surd", "✗": "times", "✘": "times", "∂": "partial",
    "∇": "nabla", "∈": "in", "∉": "notin", "⊂": "subset", "⊆": "subseteq", "⊃": "supset",
    "⊇": "supseteq", "∪": "cup", "∩": "cap", "∅": "emptyset", "∀": "forall", "∃": "exists",
    "∧": "wedge", "∨": "vee", "¬": "neg", "⊥": "bot", "⊤": "top", "∥": "parallel", "ℓ": "ell",
    "⟨": "langle", "⟩": "rangle", "′": "prime", "△": "triangle", "◦": "circ", "⋅": "cdot",
    "⋯": "cdots", "ϕ": "phi", "φ": "varphi", "ϵ": "epsilon", "ε": "varepsilon", "ϑ": "vartheta",
    "ϱ": "varrho", "ς": "varsigma", "ϖ": "varpi",
}  # fmt: skip
"""Signs, and Greek letters that have two shapes, as commands of mathematics."""
UNLIKE_LATIN = {
    "alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "chi", "psi", "omega", "Gamma", "Delta",
    "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
}  # fmt: skip
"""Greek letters that LaTeX has a command for; the others look like Latin ones."""
LIKE_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
ACCENTS = {
    "\u0300": ("`", "grave"), "\u0301": ("'", "acute"), "\u0302": ("^", "hat"),
    "\u0303": ("~", "tilde"), "\u0304": ("=", "bar"), "\u0306": ("u", "breve"),
    "\u0307": (".", "dot"), "\u0308": ('"', "ddot"), "\u030a": ("r", "mathring"),
    "\u030b": ("H", "acute"), "\u030c": ("v", "check"), "\u0323": ("d", "underline"),
    "\u0327": ("c", "underline"), "\u0328": ("k", "underline"), "\u0331": ("b", "underline"),
    "\u0305": ("=", "overline"), "\u20d7": ("^", "vec"),
}  # fmt: skip
"""Marks over or under a letter: the command in text, and the one in mathematics."""
SHIFTED = {"super": "textsuperscript", "sub": "textsubscript"}
RUNS_TOGETHER = "-',"
"""Two of one of these would be printed as another sign."""
UNSEEN = ("Cf", "Cc", "Mn", "Me")


def escape_latex(text: str) -> str:
    r"""Text on one line in which nothing is a command of LaTeX.

    The document needs `\usepackage[T1]{fontenc}`. A letter that pdflatex has no font for, such as
    one of another script, becomes its number: `U+4E2D`.
    """
    pieces: list[str] = []
    base = ""
    for letter in unicodedata.normalize("NFC", one_line(text)):
        if letter in ACCENTS and pieces:
            pieces[-1] = rf"\ensuremath{{\{ACCENTS[letter][1]}{{{_in_mathematics(pieces[-1])}}}}}"
        elif letter == base and letter in RUNS_TOGETHER:
            pieces.append(f"{{}}{letter}")
        else:
            pieces.append(_letter(letter))
        base = letter
    return "".join(pieces)


def escape_part(text: str) -> str:
    """A part of a sentence, with the space that joins it to its neighbours."""
    before = " " if text[:1].isspace() else ""
    after = " " if text.strip() and text[-1:].isspace() else ""
    return f"{before}{escape_latex(text)}{after}"


def note_latex(text: str) -> str:
    r"""A sentence of ours: escaped, and what stands between two backticks in the font of code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape_latex(text)
    spaced = [escape_part(part) for part in parts]
    return "".join(
        rf"\texttt{{{part}}}" if number % 2 else part for number, part in enumerate(spaced)
    )


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter.isascii() and letter.isprintable():
        return letter
    if letter in LETTERS:
        return rf"\{LETTERS[letter]}{{}}"
    if letter in MATHEMATICS:
        return rf"\ensuremath{{\{MATHEMATICS[letter]}}}"
    return _greek(letter) or _decomposed(letter) or _unknown(letter)


def _greek(letter: str) -> str:
    if letter in LIKE_LATIN:
        return LIKE_LATIN[letter]
    alphabet, _, name = unicodedata.name(letter, "").partition(" LETTER ")
    spelling = name.lower().replace("lamda", "lambda")
    command = spelling.capitalize() if alphabet == "GREEK CAPITAL" else spelling
    if alphabet in ("GREEK CAPITAL", "GREEK SMALL") and command in UNLIKE_LATIN:
        return rf"\ensuremath{{\{command}}}"
    return ""


def _decomposed(letter: str) -> str:
    """An accented, raised or lowered letter, or one that Unicode calls a form of others."""
    kind, _, codes = unicodedata.decomposition(letter).rpartition("> ")
    if not codes:
        return ""
    letters = [chr(int(code, 16)) for code in codes.split()]
    if kind:
        plain = "".join(map(_letter, letters))
        shift = SHIFTED.get(kind.strip("<"))
        return rf"\{shift}{{{plain}}}" if shift else plain
    if len(letters) == 2 and letters[1] in ACCENTS and letters[0].isascii():
        return rf"\{ACCENTS[letters[1]][0]}{{{letters[0]}}}"
    if len(letters) == 2 and letters[1] in ACCENTS:
        inner = _in_mathematics(_letter(letters[0]))
        return rf"\ensuremath{{\{ACCENTS[letters[1]][1]}{{{inner}}}}}"
    return _letter(letters[0]) if len(letters) == 1 else ""


def _in_mathematics(piece: str) -> str:
    """A piece of text as it may stand within a formula."""
    return piece if piece.startswith(r"\ensuremath") else rf"\textrm{{{piece}}}"


def _unknown(letter: str) -> str:
    return "" if unicodedata.category(letter) in UNSEEN else f"U+{ord(letter):04X}"
