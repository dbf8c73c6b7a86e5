"""Captured text as Markdown in which nothing is markup. Pure.

Argilla shows fields as Markdown or as HTML, and runs script in the latter. So fields are Markdown, and each ASCII
punctuation mark of captured text is a numeric entity: entities never open a tag, a link, an image, a list, a fence or
a template, so what the annotator sees is the text, character for character.
"""

import string

_SPACES = "\N{NO-BREAK SPACE}"
_MARKS = {ord(mark): f"&#{ord(mark)};" for mark in string.punctuation}
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_TABLE = {**_MARKS, **_CONTROLS, ord("\t"): 4 * _SPACES}


def inert(text: str, max_characters: int) -> str:
    """At most so many characters of text (not of Markdown), with a note where more was left out."""
    whole = text.replace("\r\n", "\n").replace("\r", "\n")
    shown = whole[:max_characters]
    lines = [_line(line) for line in shown.split("\n")]
    if len(whole) > len(shown):
        lines.append(f"*({len(whole) - len(shown)} more characters are not shown here)*")
    return "  \n".join(lines)


def _line(text: str) -> str:
    """Never empty and never indented by a plain space: a blank line would end the paragraph, an indent open code."""
    marked = text.translate(_TABLE).replace("  ", " " + _SPACES)
    if marked.startswith(" "):
        marked = _SPACES + marked[1:]
    if marked.endswith(" "):
        marked = marked[:-1] + _SPACES
    return marked or _SPACES
