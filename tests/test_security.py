"""What SECURITY.md says of the code, held by reading the code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.docs import ROOT

SOURCES = sorted(path for package in ("soniq", "soniq_django") for path in (ROOT / package).rglob("*.py"))
TEMPLATES = sorted((ROOT / "soniq_django").rglob("*.html"))
FORBIDDEN_MODULES = {
    "cPickle",
    "cloudpickle",
    "code",
    "dill",
    "jsonpickle",
    "marshal",
    "pickle",
    "runpy",
    "shelve",
    "yaml",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_HTML = {"mark_safe", "SafeString", "SafeText", "safe"}
RAW_SQL = {"raw", "extra", "RawSQL"}

# What may be put into a statement besides constants: conditions that are themselves built from constants.
SQL_PARTS = {
    "soniq/backends/sqlite/filters.py": {
        "column",  # of a dict in the same function
        "' AND '.join(conditions)",
    },
    "soniq/backends/sqlite/dead_letters.py": {"meant"},  # of filters
    "soniq/backends/sqlite/schedules.py": {"waiting"},  # of filters
    "soniq/backends/sqlite/store.py": {
        "table",  # of schema.TABLES
        "where",  # of filters
        "due",  # of where
    },
    "soniq_django/functions.py": {"shift", "offset"},  # the offset of a time zone, as a whole number
    "soniq_django/store/schedules.py": {"statement"},  # the ORM's, for the database's now
}
SQL_FORMATS = {"soniq_django/store/claiming.py": {"due", "levels", "filters", "queue"}}  # of the same module
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|ORDER BY|STRFTIME|INTERVAL)\b")


def name_of(path):
    return str(path.relative_to(ROOT))


def nodes(source, kind):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kind)]


def dangerous(source):
    """Imports and calls that make code of data."""
    found = []
    for node in nodes(source, ast.Import | ast.ImportFrom | ast.Call):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").partition(".")[0] in FORBIDDEN_MODULES else []
        elif isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(node.func.id)
    return found


def parts_of_sql(source):
    """What f-strings put into texts that look like SQL, constants (`NAME`, `module.NAME`) apart."""
    parts = []
    for node in nodes(source, ast.JoinedStr):
        text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        if SQL.search(text):
            parts += [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
    return [part for part in parts if not re.fullmatch(r"(\w+\.)?[A-Z_]+", part)]


def calls_of(source, names):
    found = []
    for node in nodes(source, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in names:
            found.append(ast.unparse(node))
    return found


def formats_of_sql(source):
    """The names that `format` fills in statements; a place without a name is an error."""
    formats = [
        node
        for node in nodes(source, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format"
    ]
    assert not any(node.args for node in formats)
    return [keyword.arg for node in formats for keyword in node.keywords]


def format_html_calls(source):
    return [node for node in nodes(source, ast.Call) if getattr(node.func, "id", "") == "format_html"]


def executed(source):
    """First arguments of execute() and executemany() that are made on the spot."""
    calls = [
        node
        for node in nodes(source, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("execute", "executemany") and node.args
    ]
    made = (ast.BinOp, ast.Call)
    return [ast.unparse(call.args[0]) for call in calls if isinstance(call.args[0], made)]


def everywhere(find):
    """What is found, by file; files without a find are left out."""
    found = {name_of(path): find(path.read_text()) for path in SOURCES}
    return {name: finds for name, finds in found.items() if finds}


def test_no_code_is_made_of_data():
    """No pickle and its kin, no eval: what a row holds is JSON, and stays data.

    django-q's packages are pickles; the one module that reads them makes no objects of them.
    """
    assert everywhere(dangerous) == {"soniq_django/importing/pickles.py": ["pickle"]}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from yaml import load", "eval(text)", "import os, marshal", "__import__(name)"],
)
def test_code_that_is_made_of_data_is_found(source):
    assert len(dangerous(source)) == 1


def test_sql_is_put_together_from_constants():
    """An f-string adds identifiers and conditions that are listed here; values are parameters."""
    assert {name: set(parts) for name, parts in everywhere(parts_of_sql).items()} == SQL_PARTS


def test_no_sql_is_made_where_it_is_executed():
    """Statements have names; a statement and its guard, two constants, are the one exception."""
    assert {name: set(found) for name, found in everywhere(executed).items()} == {
        "soniq/backends/sqlite/writing.py": {"statements.CHANGE + guard", "statements.MOVE + guard"}
    }


def test_sql_is_formatted_with_constants():
    """`str.format` of statements takes the parts that are listed here, by name."""
    formats = everywhere(lambda source: formats_of_sql(source) if "sql." in source else [])
    assert {name: set(parts) for name, parts in formats.items()} == SQL_FORMATS


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("db.execute(f\"SELECT 1 WHERE id = '{job_id}'\")", "job_id"),
        ('q = f"""UPDATE t SET x = {value!r}"""', "value"),
    ],
)
def test_a_value_in_a_statement_is_found(source, part):
    assert parts_of_sql(source) == [part]


@pytest.mark.parametrize(
    "source", ["c.execute('SELECT %s' % x)", "c.execute('a {}'.format(x))", "c.execute(a + b)"]
)
def test_a_statement_that_is_made_on_the_spot_is_found(source):
    assert len(executed(source)) == 1


def test_no_raw_sql_goes_through_the_orm():
    assert everywhere(lambda source: calls_of(source, RAW_SQL)) == {}


def test_no_text_is_declared_safe():
    """format_html escapes what it is given; nothing goes round it."""
    assert everywhere(lambda source: calls_of(source, UNSAFE_HTML)) == {}


def test_html_is_put_together_from_constants():
    """The first argument of format_html is HTML: never a text that holds a value already."""
    constant = re.compile(r"""["'].*["']|gettext\('[^']*'\)|capfirst\(_held\('\{\}'\)\)""", re.DOTALL)
    first = [ast.unparse(node.args[0]) for path in SOURCES for node in format_html_calls(path.read_text())]
    assert len(first) > 5
    assert [text for text in first if not constant.fullmatch(text)] == []


def test_templates_escape_everything():
    for path in TEMPLATES:
        assert not re.search(r"\|\s*safe\b|autoescape\s+off|safeseq", path.read_text()), path


def test_every_form_that_posts_has_a_token():
    for path in TEMPLATES:
        text = path.read_text()
        forms = re.findall(r"<form[^>]*>", text)
        assert all('method="post"' in form for form in forms), path
        assert text.count("{% csrf_token %}") == len(forms), path


def test_every_guarantee_of_the_security_page_names_a_test_that_exists():
    """A name that was changed is noticed here."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text()))
    existing = set()
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "soniq/testing").rglob("*.py")]:
        functions = nodes(path.read_text(), ast.FunctionDef | ast.AsyncFunctionDef)
        existing.update(function.name for function in functions)
    assert len(named) > 20  # the page has not lost them
    assert named <= existing, named - existing
