"""Text and numbers for LaTeX: pure ASCII that means the same in every encoding, and how wide it will be in print."""

from __future__ import annotations

import re
import unicodedata

#: The sign of a number in print, which is wider than a hyphen.
MINUS = "\u2212"
#: Commands that pdflatex has without any package, in the encodings OT1 and T1.
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # The characters themselves are active in some languages of babel, or join others to a new one.
    '"': r"\char34{}",
    "`": r"\char96{}",
    # At the start of a row these would belong to the end of the one before.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\u00a0": "~",
    "±": r"$\pm$",
    "\u00d7": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "ε": r"$\varepsilon$",
    "Δ": r"$\Delta$",
    MINUS: "$-$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": "'",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
#: Of these two in a row become another character.
_LIGATURES = re.compile(r"([-',])(?=\1)")
#: Longer numbers than any of ours; they would not fit on a page.
_HUGE = re.compile(r"\d{10,}(?:\.\d+)?")


def tex(text: str) -> str:
    """Text from outside as plain text in LaTeX; line breaks become spaces, what cannot be shown a question mark."""
    found = "".join(_character(c) for c in _LIGATURES.sub("\\1\0", unicodedata.normalize("NFC", text)))
    return found.replace("\0", "{}")


def _character(c: str) -> str:
    if c in _ESCAPED or c == "\0":
        return _ESCAPED.get(c, c)
    if c.isascii():
        return c if c.isprintable() else " "
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return "?"


def breakable(text: str, every: int = 24) -> str:
    """The same, and words longer than ``every`` characters may be broken anywhere: for a paragraph."""
    words = (r"\hspace{0pt}".join(tex(part) for part in _parts(word, every)) for word in text.split())
    return " ".join(words)


def _parts(word: str, every: int) -> list[str]:
    step = every if len(word) <= every else every // 3
    return [word[i : i + step] for i in range(0, len(word), step)]


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters, with dots where some are missing."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def number(text: str, bold: bool = False) -> str:
    r"""A number as tables print it, ``97.6 ± 0.3``, in math mode: ``$97.6 \pm 0.3$``; two hyphens for a blank."""
    if text == "-":
        return "--"
    found = _HUGE.sub(_scientific, text).replace("±", r"\pm").replace("<", "{<}")
    return rf"$\mathbf{{{found}}}$" if bold else f"${found}$"


def _scientific(found: re.Match[str]) -> str:
    mantissa, exponent = f"{float(found[0]):.2e}".split("e")
    return rf"{mantissa} {{\cdot}} 10^{{{int(exponent)}}}"


#: Widths of Computer Modern's characters at seven points, in points; ± with the space around an operator.
_WIDTHS = (
    ("il.,:;'|!", 2.4),
    ("fjrt()[]I- ", 3.1),
    ("0123456789acegosz/?", 4.0),
    ("kqvxybdhnpuS", 4.4),
    ("BCEFLPTwZ", 5.6),
    (f"mM+=@{MINUS}<>%#↑↓", 7.2),
    ("±", 10.0),
)
_WIDTH = {c: width for characters, width in _WIDTHS for c in characters}


def width(text: str) -> float:
    """About how many points wide plain text is in print."""
    return sum(_WIDTH.get(c, 6.2) for c in text)


def number_width(text: str, bold: bool = False) -> float:
    """The same for a number; bold digits are a seventh wider, the sign between them is not."""
    shown = _HUGE.sub("1.00 x 10000", text).replace(" ± ", "±").replace("-", MINUS)
    plain = width(shown)
    return plain + (plain - 10.0 * shown.count("±")) / 7 if bold else plain
