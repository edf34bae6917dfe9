"""What a reader may rely on in every file."""

import ast

import pytest

from tests.architecture.source_tree import FOLDERS, PACKAGES, ROOT, classes, sources, tree, where

BANNED_STEMS = {"util", "utils", "helper", "helpers", "common", "base", "service", "manager", "misc"}
BANNED_CLASS_WORDS = ("Manager", "Service", "Helper", "Util")
ENUM_CLASSES = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}
SUPERVISOR = ROOT / "actors" / "weatherlight.py"
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 50
MAX_PACKAGE_LINES = 40


def test_there_is_something_to_check():
    assert len(sources(*PACKAGES)) > 20


def test_no_file_reaches_500_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*FOLDERS)}
    assert [f"{path.relative_to(ROOT)}: {n}" for path, n in lengths.items() if n >= MAX_FILE_LINES] == []


def test_a_package_file_stays_under_40_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*PACKAGES) if path.name == "__init__.py"}
    assert [f"{path.relative_to(ROOT)}: {n}" for path, n in lengths.items() if n > MAX_PACKAGE_LINES] == []


def body_lines(function):
    """Return how many lines *function* takes below its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_no_function_exceeds_50_lines():
    functions = (
        (path, node)
        for path in sources(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    too_long = [f"{where(path, node)} {node.name}" for path, node in functions if body_lines(node) > MAX_FUNCTION_LINES]
    assert too_long == []


def test_no_module_has_a_name_that_says_nothing():
    assert [str(path.relative_to(ROOT)) for path in sources(*FOLDERS) if path.stem in BANNED_STEMS] == []


def test_no_class_is_a_manager_service_helper_or_util():
    named = ((path, node) for path in sources(*PACKAGES) for node in classes(path))
    assert [f"{where(path, node)} {node.name}" for path, node in named if node.name.endswith(BANNED_CLASS_WORDS)] == []


def test_no_python_enum_repeats_leyline():
    bases = (
        (path, node, ast.unparse(base).rpartition(".")[2])
        for path in sources(*PACKAGES)
        for node in classes(path)
        for base in node.bases
    )
    assert [f"{where(path, node)} {node.name}" for path, node, base in bases if base in ENUM_CLASSES] == []


def raises_again(handler):
    """Tell whether *handler* cleans up and lets the same error go on."""
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


def test_only_the_supervisor_swallows_everything():
    handlers = (
        (path, node)
        for path in sources(*PACKAGES)
        if path != SUPERVISOR
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
    )
    blanket = [
        where(path, node)
        for path, node in handlers
        if (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}) and not raises_again(node)
    ]
    assert blanket == []


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path)), "a module starts with one line that says what is inside"
