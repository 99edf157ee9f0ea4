"""A store in memory that can be made to fail."""

from __future__ import annotations

from soniq.backends.memory import MemoryBackend
from soniq.errors import BackendUnavailable


class FaultyBackend(MemoryBackend):
    """Counts the calls of each method, and fails those that it was told to fail.

    ``fail("claim", times=2)`` raises ``BackendUnavailable`` from the next two calls, ``times=None`` until
    ``heal()``. A fault strikes before anything is written, or with ``after=True`` once it was.
    """

    def __init__(self, **options):
        self.calls = {}
        self.failed = {}
        self._faults = {}
        super().__init__(**options)

    def fail(self, *methods, times=None, error=None, after=False):
        for method in methods:
            self._faults[method] = [times, error or BackendUnavailable("the store is away"), after]

    def heal(self):
        self._faults.clear()

    def _through(self, method, *args, **kwargs):
        self.calls[method] = self.calls.get(method, 0) + 1
        fault = self._faults.get(method)
        if fault is None or fault[0] == 0:
            return getattr(super(), method)(*args, **kwargs)
        if fault[0] is not None:
            fault[0] -= 1
        self.failed[method] = self.failed.get(method, 0) + 1
        if fault[2]:
            getattr(super(), method)(*args, **kwargs)
        raise fault[1]

    def claim(self, request):
        return self._through("claim", request)

    def apply(self, changes):
        return self._through("apply", changes)

    def register(self, worker):
        return self._through("register", worker)

    def deregister(self, worker_id):
        return self._through("deregister", worker_id)

    def beat(self, worker_id):
        return self._through("beat", worker_id)

    def orphans(self, **kwargs):
        return self._through("orphans", **kwargs)

    def next_due(self, **kwargs):
        return self._through("next_due", **kwargs)

    def upcoming_schedules(self, where):
        return self._through("upcoming_schedules", where)

    def write_schedules(self, changes):
        return self._through("write_schedules", changes)
