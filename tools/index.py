"""Build src/sensorium/index.json from papers.yaml, the ledger, and the papers' files, which are never imported.

python tools/index.py            write it
python tools/index.py --check    exit with 1 if it is stale
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "sensorium"
INDEX = PACKAGE / "index.json"
COLUMNS = ("slug", "n", "family", "kind", "title", "mechanism", "claim", "evidence")


def literal(tree: ast.Module, name: str) -> Any:
    """The value of a module-level `name = literal`, None without one; anything but a literal is a ValueError."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                raise ValueError(f"{name} must be a literal") from None
    return None


def symbols(tree: ast.Module) -> set[str]:
    """Every name that the file defines, assigns or imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(a.asname or a.name).split(".")[0] for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def kinds() -> tuple[str, ...]:
    """The kinds of a field, as core names them."""
    found: tuple[str, ...] = literal(ast.parse((PACKAGE / "core" / "paper.py").read_text(encoding="utf-8")), "KINDS")
    return found


def facts(source: str) -> dict[str, Any]:
    """A paper's source -> its doc, needs, parts and partial, checked; ValueError says what is wrong."""
    tree = ast.parse(source)
    doc = ast.get_docstring(tree)
    needs, parts, partial = literal(tree, "NEEDS"), literal(tree, "PARTS"), literal(tree, "PARTIAL")
    if not doc:
        raise ValueError("no docstring")
    if not isinstance(needs, dict) or not isinstance(parts, dict) or not parts:
        raise ValueError("NEEDS and PARTS must be literal dicts, PARTS not empty")
    for key, value in needs.items():
        kind, _, more = value.partition(" ")
        if kind not in kinds() or more not in ("", "derivable", "optional"):
            raise ValueError(
                f"NEEDS[{key!r}] is {value!r}; expected a kind ({' '.join(kinds())}), derivable or optional"
            )
    if unknown := [s for s in parts.values() if s.split(".")[0] not in symbols(tree)]:
        raise ValueError(f"PARTS names {', '.join(unknown)}, which the file neither defines nor imports")
    if partial is not None and not (isinstance(partial, str) and partial.strip()):
        raise ValueError("PARTIAL must be a text that names the missing parts")
    return {"doc": doc, "needs": needs, "parts": parts, "partial": partial}


def claims(source: str) -> list[str]:
    """The names of a paper's claims; ValueError where they are no literal strings."""
    for node in ast.parse(source).body:
        names = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(n, ast.Name) and n.id == "CLAIMS" for n in names) and isinstance(node.value, ast.Dict):
            return [str(ast.literal_eval(key)) for key in node.value.keys if key is not None]
    return []


def verdicts(ledger: Path) -> dict[str, str]:
    """Claim -> verdict of its newest row at the deepest tier: the weakest of its statements'."""
    if not ledger.is_file():
        return {}
    order = literal(ast.parse((PACKAGE / "run" / "statements.py").read_text(encoding="utf-8")), "_STRENGTH")
    newest: dict[str, tuple[bool, str, str]] = {}
    for line in ledger.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        weakest = min((v["verdict"] for v in row["verdicts"]), key=order.index, default="not tested")
        mark = (row["tier"] == "deep", row["date"], weakest)
        if row["tier"] != "smoke":
            newest[row["claim"]] = max(newest.get(row["claim"], mark), mark)
    return {claim: weakest for claim, (_, _, weakest) in sorted(newest.items())}


UNMEASURED = "not measured"
ABSENT: dict[str, Any] = {"path": "", "doc": "", "needs": {}, "parts": {}, "partial": None, "verdicts": {}}


def _file(path: Path, package: Path) -> dict[str, Any]:
    place = path.relative_to(package).as_posix()
    try:
        slug = path.stem.replace("_", "-")
        known = verdicts(package / "ledger" / path.parent.name / f"{slug}.jsonl")
        source = path.read_text(encoding="utf-8")
        found = {claim: known.get(claim, UNMEASURED) for claim in claims(source)}
        return {"path": place, **facts(source), "verdicts": found}
    except (ValueError, SyntaxError) as problem:
        raise ValueError(f"{place}: {problem}") from None


def build(package: Path = PACKAGE) -> list[dict[str, Any]]:
    """The rows of the catalogue in its order, then the baselines by name."""
    listed = yaml.safe_load((package / "papers.yaml").read_text(encoding="utf-8"))
    found = {p for p in (package / "papers").glob("*/*.py") if p.name != "__init__.py"}
    rows = []
    for entry in listed:
        path = package / "papers" / entry["family"] / (entry["slug"].replace("-", "_") + ".py")
        rows.append({c: entry[c] for c in COLUMNS} | (_file(path, package) if path in found else ABSENT))
        found.discard(path)
    for path in sorted(p for p in found if p.parent.name == "baseline"):
        read = _file(path, package)
        named = {"slug": "baseline/" + path.stem.replace("_", "-"), "title": read["doc"].splitlines()[0].rstrip(".")}
        rows.append(dict.fromkeys(COLUMNS, "") | {"n": 0, "family": "baseline", "kind": "baseline"} | named | read)
        found.discard(path)
    if found:
        strays = ", ".join(sorted(p.relative_to(package).as_posix() for p in found))
        raise ValueError(f"no row in papers.yaml has this family and slug: {strays}")
    if len({row["slug"] for row in rows}) != len(rows):
        raise ValueError("papers.yaml holds a slug twice")
    return rows


def text(rows: list[dict[str, Any]]) -> str:
    """One row per line, so that a change of one paper is a change of one line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"format": 1, "rows": [\n{lines}\n]}}\n'


def main(arguments: list[str]) -> int:
    """Write the index, or with --check compare it."""
    try:
        wanted = text(build())
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        if INDEX.is_file() and INDEX.read_text(encoding="utf-8") == wanted:
            return 0
        print("index.json is stale; run `make index`", file=sys.stderr)
        return 1
    if arguments:
        print(f"unknown argument {arguments[0]!r}; expected --check or nothing", file=sys.stderr)
        return 2
    INDEX.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
