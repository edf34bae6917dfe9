"""What the documentation tells people to type or to read exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.app import app
from tests.architecture.source_tree import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
ESPER_COMMAND = re.compile(r"(?:^|`)esper ([a-z]+)", re.MULTILINE)
RECIPE = re.compile(r"(?:^|`|; )(?:\./justw|just) ([a-z][a-z-]*)", re.MULTILINE)
VIEW = re.compile(r'esper query "select \* from (\w+)"')
REPOSITORY_PATH = re.compile(r"`((?:esper|actors|eventstore|ops|proto|examples|docs|tests)/[\w./-]*)`")


def page_id(page: Path) -> str:
    return page.name


def recipes():
    listed = subprocess.run(
        [Path(sys.executable).with_name("just"), "--summary"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page):
    for target, anchor in LINK.findall(page.read_text()):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_esper_command_exists(page):
    assert set(ESPER_COMMAND.findall(page.read_text())) <= set(app)


def test_every_recipe_that_is_named_exists():
    named = {recipe for page in PAGES for recipe in RECIPE.findall(page.read_text())}
    assert named
    assert named <= recipes()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_that_is_named_exists(page):
    assert [path for path in REPOSITORY_PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []


def test_every_view_that_is_asked_exists():
    asked = {view for page in PAGES for view in VIEW.findall(page.read_text())}
    assert asked
    assert asked <= {path.stem for path in (ROOT / "esper" / "nissa" / "views").glob("*.sql")}


def test_the_index_lists_every_page():
    linked = {target for target, _ in LINK.findall((ROOT / "docs" / "index.md").read_text())}
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
