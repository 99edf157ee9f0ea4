"""The documentation's examples run, and a block that does not run says why."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.docs import COMMANDS, PYTHON, ROOT, blocks_of, documents

DOCUMENTS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in documents()]


def execute(path, directory):
    # A process of its own, because examples register jobs and sign up for hooks; with the test's databases.
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.docs", str(path)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_block_runs_or_says_why_not(path):
    assert [problem for block in blocks_of(path) if (problem := block.problem())] == []


@pytest.mark.slow
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("path", DOCUMENTS)
def test_python_examples_run(path, tmp_path):
    if not any(block.language in PYTHON for block in blocks_of(path)):
        return  # nothing claimed, nothing to run; the test above has looked at the rest
    result = execute(path, tmp_path)
    assert result.returncode == 0, result.stderr


def test_readme_has_one_command_of_each_name():
    commands = [block.command for block in blocks_of(ROOT / "README.md") if block.command]
    assert sorted(commands) == sorted(COMMANDS)


def test_readme_commands_are_one_line_each():
    assert [
        block.code for block in blocks_of(ROOT / "README.md") if block.command and "\n" in block.code
    ] == []


# What the tests above promise, on documents made for it.


def document(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_blocks_of_a_file_share_a_namespace_and_may_await(tmp_path):
    page = document(
        tmp_path,
        "<!-- test: run\nimport asyncio\n-->\n```python\nn = 1\n```\ntext\n"
        "```python\nawait asyncio.sleep(0)\nn += 1\n```\n```python\nassert n == 2\n```\n",
    )
    result = execute(page, tmp_path)
    assert (result.returncode, result.stdout) == (0, "ran 4 blocks\n"), result.stderr


@pytest.mark.slow
def test_a_failing_example_is_named_by_file_and_line(tmp_path):
    result = execute(
        document(tmp_path, "title\n\n```python\nok = 1\nraise ValueError('broken')\n```\n"), tmp_path
    )
    assert result.returncode == 1
    assert re.search(r'page\.md", line 5\b', result.stderr)
    assert "ValueError: broken" in result.stderr


@pytest.mark.slow
def test_a_warning_fails_an_example(tmp_path):
    page = document(tmp_path, "```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```\n")
    assert execute(page, tmp_path).returncode == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_example_uses_the_databases_of_the_tests(tmp_path):
    from tests.shop.models import Note

    page = document(
        tmp_path, "```python\nfrom tests.shop.models import Note\nNote.objects.create(text='x')\n```\n"
    )
    result = execute(page, tmp_path)
    assert result.returncode == 0, result.stderr
    assert Note.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\npass\n```", None),
        ("```toml\na = 1\n```", None),
        ("<!-- test: skip, needs a pooler -->\n```python\npass\n```", None),
        ("<!-- command: demo -->\n```console\nls\n```", None),
        ("<!-- test: skip -->\n```python\npass\n```", "without a reason"),
        ("<!-- test: skip,  -->\n```python\npass\n```", "without a reason"),
        ("<!-- test: maybe -->\n```python\npass\n```", "nobody understands"),
        ("<!-- command: demo -->\n```python\npass\n```", "want a shell block"),
        ("<!-- command: deploy -->\n```console\nls\n```", "want a shell block"),
        ("```bash\nls\n```", "needs <!-- command"),
    ],
)
def test_marking_a_block(tmp_path, text, problem):
    (block,) = blocks_of(document(tmp_path, text))
    found = block.problem()
    assert found is None if problem is None else problem in found


@pytest.mark.slow
def test_a_skipped_example_is_not_run(tmp_path):
    page = document(tmp_path, "<!-- test: skip, would fail -->\n```python\n1 / 0\n```\n")
    result = execute(page, tmp_path)
    assert (result.returncode, result.stdout) == (0, "ran 0 blocks\n"), result.stderr
