"""Replace `$VARIABLE` in the values of a compose file as docker compose does.

The rules are those of compose-go, template/template.go: `$NAME`, `${NAME}`, `${NAME:-default}`,
`${NAME-default}`, `${NAME:?message}`, `${NAME?message}`, `${NAME:+other}`, `${NAME+other}`, each with
variables in the part after the operator, and `$$` for a dollar sign. Any other `${` is an error; any other
dollar sign is literal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watcher import regex

_NAME = regex.token(r"[_a-zA-Z][_a-zA-Z0-9]*+")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
MOST_NESTED = 50
MOST_LENGTH = 1 << 20  # characters of one value

Missing = Callable[[str], None]


class TemplateError(ValueError):
    """A value that cannot be interpolated; the message is the rule that it violates.

    `plain` is the rule without a quote of the value.
    """

    def __init__(self, rule: str, plain: str = "") -> None:
        super().__init__(rule)
        self.plain = plain or rule


def interpolate(text: str, env: Mapping[str, str], missing: Missing) -> str:
    """Return `text` with every variable replaced; raise TemplateError.

    `missing` is called with the name of each variable without a value or default; it becomes empty.
    """
    return _replace_all(text, env, missing, 0)


def _replace_all(text: str, env: Mapping[str, str], missing: Missing, depth: int) -> str:
    if depth > MOST_NESTED:
        raise TemplateError(f"variables may be nested at most {MOST_NESTED} deep")
    out: list[str] = []
    at = size = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        if size > MOST_LENGTH:
            raise TemplateError(f"it is longer than {MOST_LENGTH >> 20} MiB after interpolation")
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            out.append("$")
            at = dollar + 2
        elif following == "{":
            end = _find_closing_brace(text, dollar)
            out.append(_replace_braced(text[dollar + 2 : end], env, missing, depth))
            at = end + 1
            size += len(out[-1])
        elif match := _NAME.match(text, dollar + 1):
            out.append(_look_up(match[0], env, missing))
            at = match.end()
            size += len(out[-1])
        else:  # as in `$1` or `$(date)`
            out.append("$")
            at = dollar + 1
    out.append(text[at:])
    return "".join(out)


def _find_closing_brace(text: str, dollar: int) -> int:
    """Return the index of the brace that closes the one after `dollar`."""
    depth = 0
    for index in range(dollar + 1, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise TemplateError("'${' is not closed by '}'; write '$$' for a dollar sign")


def _replace_braced(inner: str, env: Mapping[str, str], missing: Missing, depth: int) -> str:
    match = _NAME.match(inner)
    if match is None:
        rule = "does not start with a variable name"
        raise TemplateError(f"'${{{inner}}}' {rule}", f"a '${{' {rule}")
    name, rest = match[0], inner[match.end() :]
    if not rest:
        return _look_up(name, env, missing)
    operator = next((each for each in _OPERATORS if rest.startswith(each)), None)
    if operator is None:
        rule = f"needs one of {' '.join(_OPERATORS)} after the name"
        raise TemplateError(f"'${{{inner}}}' {rule}", f"a '${{' {rule}")
    word = rest[len(operator) :]
    value = env.get(name)
    there = value is not None and (value != "" or not operator.startswith(":"))
    if operator.endswith("+"):
        return _replace_all(word, env, missing, depth + 1) if there else value or ""
    if value is not None and there:
        return value
    replaced = _replace_all(word, env, missing, depth + 1)
    if operator.endswith("?"):
        reason = f": {replaced}" if replaced else ""
        raise TemplateError(f"the variable {name} must be set{reason}")
    return replaced


def _look_up(name: str, env: Mapping[str, str], missing: Missing) -> str:
    value = env.get(name)
    if value is None:
        missing(name)
        return ""
    return value
