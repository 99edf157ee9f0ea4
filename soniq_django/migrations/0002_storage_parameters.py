"""On PostgreSQL: vacuum the jobs table as often as a queue needs it.

Each job leaves two dead rows behind. By the server's defaults they would pile up to a fifth of all rows,
finished ones included, before a vacuum comes. And a vacuum that gives empty pages at the end of the table
back to the disk locks the whole table for it, where every worker waits; the queue fills them again.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

PARAMETERS = {
    "autovacuum_vacuum_threshold": "1000",  # rows
    "autovacuum_vacuum_scale_factor": "0.02",  # of the table's rows
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "1000",  # five times the server's: to be done before the next one is due
    "vacuum_truncate": "off",
}


def set_parameters(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        given = ", ".join(f"{name} = {value}" for name, value in PARAMETERS.items())
        schema_editor.execute(f"ALTER TABLE soniq_jobs SET ({given})")


def reset_parameters(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE soniq_jobs RESET ({', '.join(PARAMETERS)})")


class Migration(migrations.Migration):
    dependencies = [("soniq_django", "0001_initial")]
    operations = [migrations.RunPython(set_parameters, reset_parameters, elidable=False)]
