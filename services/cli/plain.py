"""Text that others wrote, in tables and pages of rich."""

from rich.text import Text

from shared.plain import shown


def cell(text: object) -> Text:
    """The same for a table or a page of rich: [brackets] stay brackets."""
    return Text(shown(text))
