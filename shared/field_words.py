"""What is wrong with one field, in words people use: pydantic's own name Python's types and patterns. Pure."""

from collections.abc import Mapping
from typing import Any

WORDS = {
    "string_type": "should be a text in quotes",
    "int_type": "should be a whole number, without quotes",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number, without quotes",
    "bool_type": "should be true or false, without quotes",
    "tuple_type": 'should be a list, such as ["one", "two"]',
    "list_type": 'should be a list, such as ["one", "two"]',
    "finite_number": "should be a finite number",
    "missing": "is missing; it is required",
}
OBJECTS = ("dict_type", "model_type", "model_attributes_type")


def in_words(error: Mapping[str, Any], *, of_keys: str) -> str:
    """error: one of `ValidationError.errors()`. of_keys: what keys make: "a table" in TOML, "an object" in JSON."""
    kind, value = str(error["type"]), error["input"]
    if kind in OBJECTS:
        return f"should be {of_keys}"
    if kind == "int_type" and isinstance(value, float):
        return f"should be a whole number, such as {value:.0f}" if value.is_integer() else "should be a whole number"
    if kind in WORDS:
        return WORDS[kind]
    if kind in ("too_long", "string_too_long") and isinstance(value, str):
        return f"has {len(value)} characters; at most {error['ctx']['max_length']}"
    said = str(error["msg"]).removeprefix("Value error, ")
    for begins in ("Input should", "String should"):
        if said.startswith(begins):
            return f"should{said.removeprefix(begins)}"
    return said
