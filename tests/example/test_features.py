"""The table of the example's readme: what it names is there."""

import re

import pytest

from tests.example.conftest import MANAGE

EXAMPLE = MANAGE.parent
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
TESTS = EXAMPLE.parent / "tests" / "example"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.splitlines()
    if line.startswith("|") and "`" in line
]


def test_table_is_read():
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_feature_is_where_the_table_says(row):
    _, where, _ = row
    file, symbol = re.fullmatch(r"`([\w/.]+)`: `([\w.]+)`", where).groups()
    assert re.search(rf"\b{re.escape(symbol)}\b", (EXAMPLE / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", [row for row in ROWS if row[2]], ids=[row[0] for row in ROWS if row[2]])
def test_feature_has_the_test_that_the_table_names(row):
    file, name = re.fullmatch(r"(?:`(\w+\.py)`: )?`(test_\w+)`", row[2]).groups()
    tests = TESTS / file if file else EXAMPLE / "shop" / "tests.py"
    assert re.search(rf"^ *(async )?def {name}\(", tests.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", re.findall(r"\]\(((?!https?:)[^)]+)\)", README))
def test_linked_page_and_heading_exist(page):
    file, _, heading = page.partition("#")
    text = (EXAMPLE / file).read_text(encoding="utf-8")
    headings = [
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    ]
    assert not heading or heading in headings
