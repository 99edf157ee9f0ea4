"""What ORM jobs would cost without a queue: threads that make their calls in a plain loop.

``python -m benchmarks.threads JOBS THREADS``
"""

from __future__ import annotations

import json
import sys
import threading
import time


def main(jobs: int, threads: int) -> None:
    """Print the seconds it took, from the moment that every thread is connected."""
    import django  # noqa: PLC0415  # the settings come from the environment

    django.setup()
    from django.db import connection  # noqa: PLC0415  # as Django is set up now

    from benchmarks.project.work import body  # noqa: PLC0415  # as above

    job = body.orm

    def work(index: int) -> None:
        connection.ensure_connection()
        ready.wait()
        for number in range(index, jobs, threads):
            job(number)
        connection.close()

    ready = threading.Barrier(threads + 1)
    running = [threading.Thread(target=work, args=[index]) for index in range(threads)]
    for thread in running:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in running:
        thread.join()
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
