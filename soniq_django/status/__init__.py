"""What goes on in the queue, found out by reads that stay cheap however many jobs there are.

Each read follows an index from its start and stops after a number of rows. What was not counted to its
end says so: :class:`~soniq_django.status.records.Count` is shown as "10,000+". So a look costs some
milliseconds on an empty table and, as measured with a million jobs, not much more on a full one.
"""

from soniq_django.status.reading import read_status
from soniq_django.status.records import Status

__all__ = ["Status", "read_status"]
