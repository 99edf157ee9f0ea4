"""An app for those who come from django-tasks-db: its commands, on soniq's jobs.

With ``"soniq_django.tasks_db"`` in INSTALLED_APPS instead of ``"django_tasks_db"``, whatever starts workers
or prunes results stays as it is: units, containers, crontabs that may well be kept elsewhere than the code.
"""
