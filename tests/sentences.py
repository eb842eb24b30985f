"""Find assertions that compare a message with a sentence: rewording the message breaks them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SENTENCE = 8  # words that `==` compares: a shorter text is a name, a value or a label
PART = 5  # words that `in` looks for


@dataclass(frozen=True)
class Sentence:
    """A long text that an `assert` compares or looks for: the function that asserts it, and the line."""

    function: str
    line: int
    text: str


def find_sentences(source: str) -> list[Sentence]:
    """Return the texts that assertions compare with `==` (eight words or more) or look for with `in` (five).

    A parameter of the test counts as the values that `parametrize` gives it.
    """
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            values = _parameter_values(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Assert):
                    texts = dict.fromkeys(_compared_texts(node.test, values))
                    found += [Sentence(function.name, node.lineno, text) for text in texts]
    return found


def list_assertions(root: Path) -> dict[str, list[Sentence]]:
    """Map `file::function`, relative to `root`, to the sentences that it compares."""
    found: dict[str, list[Sentence]] = {}
    for file in sorted(root.rglob("test_*.py")):
        for sentence in find_sentences(file.read_text("utf-8")):
            found.setdefault(f"{file.relative_to(root)}::{sentence.function}", []).append(sentence)
    return found


def _parameter_values(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, list[ast.expr]]:
    values: dict[str, list[ast.expr]] = {}
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(attr="parametrize"),
                args=[names, ast.List(elts=rows) | ast.Tuple(elts=rows), *_],
            ):
                columns = _parameter_names(names)
                for row in rows:
                    cells = row.elts if isinstance(row, ast.Tuple) and len(columns) > 1 else [row]
                    if isinstance(row, ast.Call):  # pytest.param
                        cells = row.args
                    for name, cell in zip(columns, cells, strict=False):
                        values.setdefault(name, []).append(cell)
    return values


def _parameter_names(names: ast.expr) -> list[str]:
    written = ast.literal_eval(names)
    return [name.strip() for name in written.split(",")] if isinstance(written, str) else list(written)


def _compared_texts(test: ast.expr, values: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    for node in ast.walk(test):
        if not isinstance(node, ast.Compare):
            continue
        if any(isinstance(each, ast.Eq) for each in node.ops):
            sides, words = (node.left, *node.comparators), SENTENCE
        elif any(isinstance(each, ast.In | ast.NotIn) for each in node.ops):
            sides, words = (node.left,), PART
        else:
            continue
        for side in sides:
            for expression in values.get(side.id, []) if isinstance(side, ast.Name) else [side]:
                yield from _long_texts(expression, words)


def _long_texts(node: ast.expr, words: int) -> Iterator[str]:
    """Yield the long texts that a side of a comparison is made of. Arguments of a function are its input."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        text = _text_of(node)
        if len(text.split()) >= words:
            yield text
    elif not isinstance(node, ast.Call) or _is_constructor(node.func):
        for child in ast.iter_child_nodes(node):
            part = child.value if isinstance(child, ast.keyword) else child
            if isinstance(part, ast.expr):
                yield from _long_texts(part, words)


def _text_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _is_constructor(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name[:1].isupper()
