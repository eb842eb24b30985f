"""Measure prose and names of a source tree, and draw docstrings from it at random."""

from __future__ import annotations

import ast
import io
import random
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path

Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# Words by which prose that was translated shows; plain technical English needs few of them.
_MARKERS = re.compile(
    r"\b(told|tells?|telling|whoever|nobody|somebody|everybody|anew|whose|lies|stands?|beside|begun|begins?"
    r"|meanwhile|at once|by itself|is kept|are kept|gives? back|given back|to be had|goes|says?|said|such"
    r"|where there is|so that|as a rule|comes? to|look(?:s|ed)? at|a word|wants?|may)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z']+")


def _read_prose(source: str) -> Iterator[str]:
    """Yield the comments and docstrings of a file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | Named) and (text := ast.get_docstring(node)):
            yield text


def count_markers(files: list[Path]) -> tuple[float, int]:
    """Return the markers in 1,000 words of comments and docstrings, and the number of words."""
    text = "\n".join(part for file in files for part in _read_prose(file.read_text("utf-8")))
    words = len(_WORD.findall(text))
    return 1000 * len(_MARKERS.findall(text)) / max(1, words), words


def _list_docstrings(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, signature and docstring of each public function and class."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, Named) or node.name.startswith("_"):
            continue
        if text := ast.get_docstring(node):
            arguments = "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)})"
            yield node.lineno, f"{node.name}{arguments}", text


def draw_docstrings(files: list[Path], root: Path, count: int, seed: str) -> Iterator[str]:
    """Yield `count` public functions and classes with their docstrings, drawn at random."""
    found = [(file, *each) for file in files for each in _list_docstrings(file)]
    for file, line, signature, text in random.Random(seed).sample(found, min(count, len(found))):
        yield f"{file.relative_to(root)}:{line}\n  {signature}\n{textwrap.indent(text, '      ')}"
