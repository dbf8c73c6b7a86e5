"""Runs inside the box, as `python -c`: the answer's code, then its tests; says which tests passed on standard output.

The nonce that makes a line count is read only after the answer's code has ended, so leaving early passes nothing.
"""

import ast
import json
import os
import sys
from typing import Any


def main(read: Any = sys.stdin.readline, write: Any = os.write, loads: Any = json.loads) -> None:
    names: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(loads(read())["code"], "answer.py", "exec"), names)
    except BaseException as error:
        write(1, f"the answer's code ended in {type(error).__name__}\n".encode())
        return
    second = loads(read())
    nonce, tree = second["nonce"], ast.parse(second["tests"])
    for node in tree.body:
        is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        code = compile(ast.Module([node], []), "tests.py", "exec")
        try:
            exec(code, names)
            if is_test:
                names[node.name]()
        except BaseException:
            if not is_test and not isinstance(node, ast.Assert):
                return  # what the later tests stand on is missing
            continue
        if is_test or isinstance(node, ast.Assert):
            write(1, f"\n{nonce} {node.name if is_test else f'line {node.lineno}'}\n".encode())


main()
