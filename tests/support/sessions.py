"""Sessions of a server that are ended from outside."""

from django.db import connections

END_OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT concat('KILL ', id) FROM information_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


def end_other_sessions(alias: str) -> None:
    """End all sessions of the database but the caller's."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(END_OTHERS[connection.vendor])
        if connection.vendor == "mysql":
            for (kill,) in cursor.fetchall():
                cursor.execute(kill)
