"""README's tables list what exists, no more and no less."""

import re
from dataclasses import fields

import pytest

from soniq.job_options import JobKeywords
from soniq.settings import Settings
from soniq_django.conf import DjangoSettings
from tests.support.docs import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]


def test_options_table_lists_the_options_of_a_job():
    named = [name for row in rows("Job options") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(JobKeywords.__annotations__)


def test_settings_table_lists_the_settings_with_their_defaults():
    listed = {row[0].strip(" `"): row[1].strip(" `") for row in rows("Settings")}
    own = [field for field in fields(DjangoSettings) if field.name != "core"]
    expected = {
        field.name.upper(): repr(field.default).replace("'", '"') for field in (*own, *fields(Settings))
    }
    expected["TIMEZONE"] = "TIME_ZONE"  # a Django project has a time zone of its own
    assert listed == expected


@pytest.mark.parametrize("page", re.findall(r"\]\(((?!https?:)[^)#]+)\)", README))
def test_linked_file_exists(page):
    assert (ROOT / page).exists()
