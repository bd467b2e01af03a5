"""The figures of the house: how large its rooms are, how long its chains of imports, what stands there without a word.

python benchmarks/house.py [CHECKOUT] [--list constants|literals|functions|parameters|names]
"""

from __future__ import annotations

import argparse
import ast
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MOST_LINES = 60
MOST_PARAMETERS = 10
PLAIN_NUMBERS = {0, 1, 2, -1, 0.5, 100, 1000}
"""Numbers that name themselves: ends, halves, percent, milliseconds."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(source: Path) -> dict[str, Path]:
    """Dotted name and file of every module."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.with_suffix("").relative_to(source.parent).parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """Its syntax; read once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """Modules of the package that this one names when it is imported: none that only types need."""
    found = set()
    for node in _at_import(parsed(path).body):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return (found & known) - {name}


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.dump(node.test):
                yield from _at_import(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _at_import(node.body)
        else:
            yield node


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Longest chain of modules in which each imports the next; rooms that name their own parts are not counted."""

    @cache
    def below(name: str) -> tuple[str, ...]:
        tails = (below(each) for each in sorted(graph[name]) if not name.startswith(f"{each}."))
        return (name, *max(tails, key=len, default=()))

    return list(max((below(name) for name in graph), key=len))


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function and method."""
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[str]:
    """Names of the parameters, without ``self``."""
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def constants(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, name, and whether a word stands with it: above (also above its group), behind, or as a docstring below.

    Aliases of types and loggers are no constants.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    with tokenize.open(path) as file:
        tokens = [each for each in tokenize.generate_tokens(file.readline) if each.type == tokenize.COMMENT]
    comments = {each.start[0] for each in tokens if not each.string.startswith(("# fmt", "# type", "# noqa"))}
    body = parsed(path).body
    explained_group = False
    end_before = 0
    for node, after in zip(body, [*body[1:], None], strict=True):
        names = _assigned(node)
        if not names:
            end_before = 0
            continue
        above = node.lineno - 1 in comments and not lines[node.lineno - 2].split("#")[0].strip()
        behind = any(line in comments for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))
        below = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        explained_group = above or (explained_group and end_before == node.lineno - 1)
        end_before = node.end_lineno or node.lineno
        for name in names:
            yield node.lineno, name, above or behind or below or explained_group


def _is_command(function: Function, where: Path) -> bool:
    """It is called as its module is, or its signature speaks of Typer: each parameter is an option."""
    types = [argument.annotation for argument in function.args.args if argument.annotation]
    typer = any("typer" in ast.dump(each) for each in (*function.args.defaults, *types))
    return where.parts[0] == "cli" and (function.name == where.stem or typer)


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    flat = [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [each.id for each in flat if isinstance(each, ast.Name) and each.id.strip("_").isupper()]


def literals(tree: ast.Module) -> Iterator[int]:
    """Lines of numbers that stand in the body of a function with no name: neither a keyword's value nor a default."""
    for function in functions(tree):
        # What a function says of itself, its defaults and its types, is read where it is declared.
        for statement in function.body:
            nodes = list(ast.walk(statement))
            named = {id(keyword.value) for keyword in nodes if isinstance(keyword, ast.keyword)}
            for node in nodes:
                if isinstance(node, ast.Subscript):
                    named |= {id(each) for each in ast.walk(node.slice)}
            for node in nodes:
                if (
                    isinstance(node, ast.Constant)
                    and type(node.value) in (int, float)
                    and node.value not in PLAIN_NUMBERS
                    and id(node) not in named
                ):
                    yield node.lineno


def measure(checkout: Path) -> tuple[dict[str, object], dict[str, list[str]]]:
    """All figures, and the places behind some of them."""
    source = checkout / "src" / "metst"
    files = modules(source)
    graph = {name: imports(name, path, set(files)) for name, path in files.items()}
    places: dict[str, list[str]] = defaultdict(list)
    count = Counter[str]()
    wide = []
    for path in files.values():
        tree, where = parsed(path), path.relative_to(source)
        for function in functions(tree):
            count["functions"] += 1
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > MOST_LINES:
                places["functions"].append(f"{where}:{function.lineno} {function.name} ({length})")
            if not _is_command(function, where):
                wide.append(len(parameters(function)))
                if wide[-1] > MOST_PARAMETERS:
                    places["parameters"].append(f"{where}:{function.lineno} {function.name} ({wide[-1]})")
        for line, name, said in constants(path):
            count["constants"] += 1
            if not said:
                places["constants"].append(f"{where}:{line} {name}")
        places["literals"] += sorted({f"{where}:{line}" for line in literals(tree)})
    rooms = Counter(path.name for path in files.values() if path.name != "__init__.py" and "cli" not in path.parts)
    places["names"] = sorted(f"{name} ({number})" for name, number in rooms.items() if number > 1)
    chain = longest_chain(graph)
    loose = [path for path in source.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    figures: dict[str, object] = {
        "modules": len(files),
        "loose modules": len(loose),
        "rooms": sum(path.is_dir() and (path / "__init__.py").exists() for path in source.iterdir()),
        "longest chain of imports": len(chain),
        "lines of code": sum(path.read_text(encoding="utf-8").count("\n") for path in files.values()),
        "functions": count["functions"],
        f"functions over {MOST_LINES} lines": len(places["functions"]),
        f"functions with more than {MOST_PARAMETERS} parameters": len(places["parameters"]),
        "most parameters": max(wide),
        "constants": count["constants"],
        "constants without a word": len(places["constants"]),
        "lines with bare numbers in functions": len(places["literals"]),
        "names that modules of two rooms share": len(places["names"]),
    }
    places["chain"] = chain
    return figures, places


def main() -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    kinds = ("constants", "literals", "functions", "parameters", "names", "chain")
    parser.add_argument("--list", choices=kinds, help="print the places instead")
    arguments = parser.parse_args()
    figures, places = measure(arguments.checkout)
    if arguments.list:
        print("\n".join(places[arguments.list]))
    else:
        width = max(map(len, figures))
        print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
