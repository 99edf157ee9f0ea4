#!/usr/bin/env python
"""The example shop's command line. Start with: python example_project/manage.py demo"""

import os
import sys
from importlib.util import find_spec

NEEDED = {
    "django": "Django",
    "soniq_django": "soniq-django",
    "PIL": "Pillow",
    "dj_database_url": "dj-database-url",
}


def main() -> None:
    missing = [title for module, title in NEEDED.items() if find_spec(module) is None]
    if find_spec("django") and not (find_spec("django.tasks") or find_spec("django_tasks")):
        missing.append("django-tasks")  # until Django 6.0, the Tasks API is a package of its own
    if missing:
        sys.exit(
            f"The example needs {', '.join(missing)}. In the repository's root folder run: "
            'python -m pip install -e ".[demo]"'
        )
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415  # only now known to be there
    from django.core.management import execute_from_command_line  # noqa: PLC0415  # as above

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
