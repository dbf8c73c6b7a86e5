"""The messages of a chat as text: one rule for whoever serves, corrects, keeps and teaches them. Standard library only.

A message is text when its role is one of ROLES and its content is a text, null or a list of text parts. Pictures, sound
and calls of tools are not text: no model that learns from text can learn from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")
CALLS = ("tool_calls", "function_call")


class NotText(ValueError):
    """This message cannot be rendered as text; the sentence says why."""


def content_text(content: Any) -> str:
    """A message's content as one text, its parts joined by line ends; NotText for parts other than text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotText("its content should be a text, null or a list of text parts")
    return "\n".join(_part_text(part, number) for number, part in enumerate(content, start=1))


def text_message(message: Any) -> dict[str, str]:
    """The message as {role, content} and nothing else; NotText where that would lose or break something."""
    if not isinstance(message, Mapping):
        raise NotText("it should be an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        raise NotText(f"its role is {role!a:.60}; the roles are {', '.join(ROLES)}")
    if any(message.get(key) for key in CALLS):
        raise NotText("it calls tools, which a text cannot say")
    text = content_text(message.get("content"))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotText(f"its content is not valid Unicode (half a character at place {error.start + 1})") from None
    return {"role": role, "content": text}


def text_messages(messages: Sequence[Any]) -> list[dict[str, str]]:
    """All of them as text; NotText names the first that is not, counted from 1."""
    kept = []
    for number, message in enumerate(messages, start=1):
        try:
            kept.append(text_message(message))
        except NotText as error:
            raise NotText(f"message {number} cannot be rendered as text: {error}") from None
    return kept


def _part_text(part: Any, number: int) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
    if isinstance(text, str):
        return text
    kind = f"of type {part.get('type')!a:.60}" if isinstance(part, dict) else f"{part!a:.60}"
    raise NotText(f"part {number} of its content is {kind}; only parts of type text are understood")
