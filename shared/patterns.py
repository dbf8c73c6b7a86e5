"""Regular expressions that other people write: RE2's dialect, which takes time linear in the text whatever the pattern.

No look-around and no back-references; in exchange no pattern and no hostile text can make a service or an evaluation
hang. The engine is imported when the first pattern is compiled: machines without it run everything else.
Fails: ValueError with a sentence, also where the package is missing.
"""

from collections.abc import Callable
from functools import cache

MOST_CHARACTERS = 2000

Matcher = Callable[[str], int]  # how often it comes up in a text, overlaps not counted


@cache
def matcher(pattern: str) -> Matcher:
    """Ignores case, as `(?-i)` inside the pattern undoes."""
    if len(pattern) > MOST_CHARACTERS:
        raise ValueError(f"should have at most {MOST_CHARACTERS} characters, has {len(pattern)}")
    try:
        import re2
    except ImportError:
        raise ValueError("needs the package google-re2, which is not installed here; give words instead") from None
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(
            f"should be a regular expression in RE2's syntax (no look-around, no back-references): {said}"
        ) from None
    return lambda text: sum(1 for _ in compiled.finditer(_encodable(text)))


def _encodable(text: str) -> str:
    """RE2 reads UTF-8; a lone surrogate, which JSON may carry, has none."""
    return text.encode("utf-8", "replace").decode("utf-8")
