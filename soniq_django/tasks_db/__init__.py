"""An app for those who come from django-tasks-db: its ``db_worker``, on soniq's jobs.

With ``"soniq_django.tasks_db"`` in INSTALLED_APPS instead of ``"django_tasks_db"``, whatever starts workers
stays as it is: units, containers and process files that may well be kept elsewhere than the code.
"""
