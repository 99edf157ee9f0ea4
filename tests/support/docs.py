"""Finds the fenced code blocks of a Markdown file and runs the Python ones in order, in one namespace.

A comment on the line before a block says how it is treated:

    <!-- test: skip, needs a mail server -->    not run, for the reason given
    <!-- command: tests -->                     a shell command that `.ci/run` runs

and a comment of its own is code that readers need not see:

    <!-- test: run
    from tests.shop.models import Note
    -->

A Python block without a comment runs; it may await at its top level. A shell block must have a
comment. Run as a program (`python -m tests.support.docs FILE`) this module executes the file.
"""

import ast
import asyncio
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ("demo", "tests")
PYTHON = ("python", "py")
SHELL = ("console", "bash", "sh", "shell")

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)")
_SKIP = re.compile(r"^<!-- test: skip(?:, *(?P<reason>.*?))? *-->$")
_COMMAND = re.compile(r"^<!-- command: (?P<name>[\w-]+) -->$")
_HIDDEN = "<!-- test: run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block, or one hidden one."""

    path: Path
    line: int  # of the first line of code, counted from 1
    language: str
    code: str
    comment: str = ""  # the line before the fence, when it is a comment

    @property
    def skip_reason(self) -> str | None:
        """None if the block is to be run; empty if the reason was forgotten."""
        match = _SKIP.match(self.comment)
        return (match["reason"] or "") if match else None

    @property
    def command(self) -> str | None:
        """The name under which `.ci/run` runs this block."""
        match = _COMMAND.match(self.comment)
        return match["name"] if match else None

    def problem(self) -> str | None:
        """What is wrong with the way the block is marked, in one line."""
        where = f"{self.path.name}:{self.line}: {self.language} block"
        if self.skip_reason == "":
            return f"{where} is skipped without a reason: <!-- test: skip, REASON -->"
        if (
            self.comment.startswith(("<!-- test:", "<!-- command:"))
            and self.skip_reason is None
            and not self.command
        ):
            return f"{where} has a comment nobody understands: {self.comment}"
        if self.command and (self.language not in SHELL or self.command not in COMMANDS):
            return (
                f"{where} is marked as the command {self.command!r}: want a shell block and one of {COMMANDS}"
            )
        if self.language in SHELL and self.skip_reason is None and self.command is None:
            return (
                f"{where} needs <!-- command: NAME --> or <!-- test: skip, REASON --> on the line before it"
            )
        return None


def blocks_of(path: Path) -> list[Block]:
    """Every block of the file, in order. An unclosed fence or comment reaches to the end of the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks = []
    position = 0
    while position < len(lines):
        line = lines[position]
        fence = _FENCE.match(line)
        if fence:
            indent, start = fence["indent"], position + 1
            end = _find(lines, start, lambda text, fence=fence: text.strip() == fence["fence"])
            blocks.append(
                Block(
                    path=path,
                    line=start + 1,
                    language=fence["language"].lower(),
                    code="\n".join(text.removeprefix(indent) for text in lines[start:end]),
                    comment=_comment_before(lines, position),
                )
            )
            position = end
        elif line.strip() == _HIDDEN:
            start = position + 1
            end = _find(lines, start, lambda text: text.strip() == "-->")
            blocks.append(
                Block(path=path, line=start + 1, language="python", code="\n".join(lines[start:end]))
            )
            position = end
        position += 1
    return blocks


def _find(lines, start, wanted):
    return next((index for index in range(start, len(lines)) if wanted(lines[index])), len(lines))


def _comment_before(lines, position):
    before = lines[position - 1].strip() if position else ""
    return before if before.startswith("<!--") and before.endswith("-->") else ""


def documents() -> list[Path]:
    """The Markdown files whose examples must run."""
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "example_project/README.md")
    tops = [ROOT / name for name in names]
    return [path for path in tops if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def command(name: str) -> str:
    """The shell command that README prints under this name."""
    (code,) = [block.code for block in blocks_of(ROOT / "README.md") if block.command == name]
    return code


def run_blocks(blocks: list[Block]) -> int:
    """Executes the Python blocks that are not skipped; how many that were. Tracebacks name file and line."""
    namespace = {"__name__": "__main__"}
    count = 0
    for block in blocks:
        if block.language not in PYTHON or block.skip_reason is not None:
            continue
        source = "\n" * (block.line - 1) + block.code
        code = compile(
            source, str(block.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        result = eval(code, namespace)  # runs statements too; a coroutine only if the block awaits
        if inspect.iscoroutine(result):
            asyncio.run(result)
        count += 1
    return count


def main(path: Path) -> None:
    """Executes one file with Django set up."""
    import django
    from django.db import connections

    django.setup()
    try:
        count = run_blocks(blocks_of(path))
    finally:
        connections.close_all()
    print(f"ran {count} blocks")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
