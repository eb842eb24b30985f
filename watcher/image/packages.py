"""Find the Go package of a linker symbol, and the module of a package. Pure."""

from __future__ import annotations

from collections.abc import Container

SHARED = "(shared)"  # module of what belongs to no package
STANDARD = "std"
C_CODE = "(C code)"
STRINGS = "(strings)"
TYPES = "(types)"
STACK_MAPS = "(stack maps)"
GENERATED = "(generated)"

# The linker's own symbols; those of Go before 1.20 have a dot in place of the colon.
_LUMPS = {"go:string.": STRINGS, "go.string.": STRINGS, "go:func.": STACK_MAPS, "go.func.": STACK_MAPS}
_TYPE_METHODS = ("type:.eq.", "type:.hash.", "type..eq.", "type..hash.")
ITABS = ("go:itab.", "go.itab.")
_OURS = ("go:", "go.string.", "go.func.", "go.itab.", "go.buildid", "go.importpath.", "go.cuinfo.")


def package_of(symbol: str) -> str:
    """Return the import path in a symbol's name, as Go's debug/gosym does; else a name in brackets."""
    if symbol.startswith(_OURS):
        if symbol.startswith(ITABS):
            return _path_in(symbol[8:].partition(",")[0].lstrip("*"))
        return next((lump for prefix, lump in _LUMPS.items() if symbol.startswith(prefix)), GENERATED)
    if symbol.startswith(_TYPE_METHODS):
        of_type = symbol[symbol.index(".", 6) + 1 :]
        while of_type.startswith("["):  # an array of the type
            of_type = of_type.partition("]")[2]
        return _path_in(of_type)
    if symbol.startswith(("type:", "type..", "type.*")):
        return TYPES
    return _path_in(symbol)


def _path_in(symbol: str) -> str:
    name = symbol.partition("[")[0]  # arguments of a generic function contain other paths
    if name.startswith("go.shape.") or "{" in name or " " in name:
        return GENERATED
    slash = max(name.rfind("/"), 0)
    dot = name.find(".", slash)
    if dot <= 0:
        return C_CODE if dot < 0 else GENERATED
    path = name[:dot]
    return path.replace("%2e", ".").replace("%22", '"').replace("%25", "%") if "%" in path else path


def module_of(package: str, modules: Container[str], main: str) -> str:
    """Return the module of a package. `modules` are the paths of all modules, `main` is the program's."""
    if package.startswith("("):
        return SHARED
    if package == "main" or package.startswith("main."):
        return main or package
    path = package
    while path:
        if path in modules:
            return path
        path = path.rpartition("/")[0]
    first = package.partition("/")[0]
    return STANDARD if "." not in first else package
