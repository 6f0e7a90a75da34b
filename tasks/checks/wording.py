"""What is wrong with a text's characters, by patterns."""

import re
from collections.abc import Iterable

BYTE = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # a continuation byte of UTF-8, read as Latin-1 or Windows-1252
PATTERNS = {
    # UTF-8 of accented Latin letters, of punctuation, of emoji, of a byte order mark or U+FFFD, and of two Cyrillic
    # letters, each read in a code of one byte a character.
    "wrongly decoded": re.compile(f"[ÂÃÄÅ]{BYTE}|â{BYTE}{BYTE}|ð{BYTE}{{3}}|ï(?:»¿|¿½)|(?:[ÐÑ]{BYTE}){{2}}"),
    "lost characters (U+FFFD)": re.compile("\ufffd"),
    "control characters": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]"),
}
KINDS = tuple(PATTERNS)
_ASCII = PATTERNS["control characters"]


def faults_in(parts: Iterable[str]) -> int:
    """A bit for each of `KINDS` that is in one of the texts."""
    found = 0
    for text in parts:
        if text.isascii():
            found |= bool(not text.isprintable() and _ASCII.search(text)) << KINDS.index("control characters")
        else:
            found |= sum(bool(pattern.search(text)) << bit for bit, pattern in enumerate(PATTERNS.values()))
    return found
