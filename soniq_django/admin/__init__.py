"""The admin of jobs, dead letters, schedules and workers.

Rows are looked at here, and steered; never edited.
"""

from soniq_django.admin.dead_letters import DeadLetterAdmin
from soniq_django.admin.jobs import JobAdmin
from soniq_django.admin.schedules import ScheduleAdmin
from soniq_django.admin.workers import WorkerAdmin

__all__ = ["DeadLetterAdmin", "JobAdmin", "ScheduleAdmin", "WorkerAdmin"]
