"""What goes on in the queue, found out by reads that stay cheap however many jobs there are.

Each read follows an index from its start and stops after a number of rows. What was not counted to its
end says so: :class:`~soniq_django.status.records.Count` is shown as "10,000+". So a look
at a million jobs in seven queues takes a quarter of a second on PostgreSQL.
"""

from soniq_django.status.reading import read_status
from soniq_django.status.records import Status

__all__ = ["Status", "read_status"]
