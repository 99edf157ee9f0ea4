"""The shop with its jobs in a database of their own: manage.py ... --settings config.two_databases

Two databases have no commit in common. An order's jobs are written right after the order's commit; a process
that ends in between leaves an order without them. And `book_points`, whose points are not where its job is,
happens at least once, like all other jobs, and no longer exactly once.
"""

from config.settings import *  # noqa: F403  # all of the shop's settings, and two that differ
from config.settings import DATABASES, SONIQ, database

DATABASES = {**DATABASES, "jobs": database("JOBS_DATABASE_URL", "jobs.sqlite3")}
SONIQ = {**SONIQ, "DATABASE": "jobs"}  # its tables: manage.py migrate soniq_django --database jobs
