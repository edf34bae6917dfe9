"""What a package offers is what its `__all__` says, and its docstring says whose room it is."""

import ast
import importlib

import pytest

from tests.architecture.source_tree import PACKAGES, ROOT, module_name, sources, tree

NAMED_ROOMS = {
    "esper/leyline/__init__.py": "Leyline: the language",
    "eventstore/oona/__init__.py": "Oona: the message fabric",
    "esper/tolaria/__init__.py": "Tolaria: the training run",
    "esper/kasmina/__init__.py": "Kasmina: the growth sites of a host model and every seed that lives in one",
    "esper/tamiyo/__init__.py": "Tamiyo: the controller",
    "esper/karn/__init__.py": "Karn: the catalogue of blueprints",
    "esper/tezzeret/__init__.py": "Tezzeret: the forge",
    "esper/urza/__init__.py": "Urza: the library",
    "esper/simic/__init__.py": "Simic: the coach",
    "esper/nissa/__init__.py": "Nissa: observability",
    "actors/weatherlight.py": "Weatherlight: the supervisor",
}


@pytest.mark.parametrize(("file", "line"), NAMED_ROOMS.items(), ids=NAMED_ROOMS)
def test_a_named_room_starts_with_its_line(file, line):
    assert (ast.get_docstring(tree(ROOT / file)) or "").startswith(line)


def imported_names(path):
    """Return the names that the top level of *path* imports."""
    imports = (node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}


def defined_names(path):
    """Return the public names that the top level of *path* defines."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def declared_all(path):
    """Return the names in the `__all__` of *path*, or None if it has none."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            return set(ast.literal_eval(node.value))
    return None


PACKAGE_FILES = [path for path in sources(*PACKAGES) if path.name == "__init__.py"]


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=module_name)
def test_a_package_exports_exactly_its_all(path):
    if path == ROOT / "esper" / "__init__.py":
        pytest.skip("its names are loaded when they are first used; see the next test")
    declared, defined, imported = declared_all(path), defined_names(path), imported_names(path)
    assert declared is not None or not defined | imported, "a package that offers names lists them in __all__"
    assert defined <= (declared or set()) <= defined | imported


def test_the_public_face_offers_every_name_of_its_all():
    esper = importlib.import_module("esper")
    assert set(esper.__all__) >= {"attach", "unwrap", "wrap"}
    assert [name for name in esper.__all__ if not callable(getattr(esper, name))] == []


@pytest.mark.parametrize(
    "path",
    [path for path in sources(*PACKAGES) if path.name != "__init__.py" and declared_all(path) is not None],
    ids=module_name,
)
def test_a_module_with_an_all_defines_every_name_in_it(path):
    assert declared_all(path) <= defined_names(path) | imported_names(path)
