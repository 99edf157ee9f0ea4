"""What Celery has and soniq has not, each with the next step. Told at declaration, where that can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from soniq import SoniqError

QUEUE = "give queue="
ENQUEUE_NEXT = "let the first task enqueue the next one as its last step"

# Options of @shared_task and @app.task.
DECLARED = {
    "base": "write a decorator, or a soniq.middleware, for what the class did",
    "soft_time_limit": "give time_limit=, which ends the attempt; a task cannot be told beforehand",
    "rate_limit": "give the task a queue of its own and run a worker with --concurrency 1 on it, or let it "
    "return soniq.Snooze(seconds) when it comes too early",
    "expires": "compare the time at the start of the task, and return",
    "serializer": "jobs are stored as JSON; pass plain values",
    "compression": "arguments are stored as they are; keep large ones elsewhere and pass a reference",
    "pydantic": "use @soniq.job(validate=Model)",
    "pydantic_strict": "use @soniq.job(validate=Model)",
    "exchange": QUEUE,
    "routing_key": QUEUE,
    "backend": "results are kept in the database of the jobs",
    "on_failure": "use @soniq.on_error",
    "on_success": "use @soniq.after_job",
    "on_retry": "use @soniq.on_error",
    "before_start": "use @soniq.before_job",
    "after_return": "use @soniq.after_job and @soniq.on_error",
}

# Options of apply_async().
SENT = {
    "task_id": "ids are chosen here and returned; once per key is task.using(dedup_key=...).enqueue(...)",
    "expires": DECLARED["expires"],
    "link": ENQUEUE_NEXT,
    "link_error": "use @soniq.on_error, or look after the dead letters",
    "chain": ENQUEUE_NEXT,
    "chord": "count in the database, and let the last task enqueue the next one",
    "exchange": QUEUE,
    "routing_key": QUEUE,
    "serializer": DECLARED["serializer"],
    "compression": DECLARED["compression"],
    "headers": "pass what the task needs as an argument",
    "time_limit": "declare it on the task",
    "soft_time_limit": DECLARED["soft_time_limit"],
    "ignore_result": "declare it on the task",
    "shadow": "jobs are shown by their name",
    "producer": "the job belongs to the caller's transaction",
    "connection": "the job belongs to the caller's transaction",
}

# Names of the module celery.
NAMES = {
    "Celery": "import shared_task or app from soniq_django.celery; settings are in settings.SONIQ",
    "chain": ENQUEUE_NEXT,
    "group": "use task.enqueue_many([{...}, ...])",
    "chord": SENT["chord"],
    "chunks": "use task.enqueue_many([{...}, ...])",
    "xmap": "use task.enqueue_many([{...}, ...])",
    "xstarmap": "use task.enqueue_many([{...}, ...])",
    "signature": "pass the task itself and its arguments",
    "subtask": "pass the task itself and its arguments",
    "current_task": "declare the task with bind=True and use self.request",
    "Signature": "pass the task itself and its arguments",
    "Reject": "return soniq.Snooze(seconds) to run again later, or raise to fail",
    "SoftTimeLimitExceeded": DECLARED["soft_time_limit"],
}

# Methods and attributes of a task.
OF_TASK = {
    "s": ENQUEUE_NEXT,
    "si": ENQUEUE_NEXT,
    "subtask": ENQUEUE_NEXT,
    "chunks": NAMES["chunks"],
    "map": NAMES["chunks"],
    "starmap": NAMES["chunks"],
    "replace": ENQUEUE_NEXT,
    "add_to_chord": SENT["chord"],
    "apply": "call the function itself, task(...), or run what is due in a test (docs/testing.md)",
    "update_state": "keep progress in a table of your own",
    "send_event": "use soniq's hooks and metrics",
    "push_request": "pass what the task needs as an argument",
    "on_failure": DECLARED["on_failure"],
    "on_success": DECLARED["on_success"],
    "on_retry": DECLARED["on_retry"],
    "backend": DECLARED["backend"],
}


class Unsupported(SoniqError):
    """Something of Celery that soniq does not have.

    :ivar feature: what was asked for
    """

    code: ClassVar[str] = "celery_unsupported"

    def __init__(self, feature: str, instead: str) -> None:
        self.feature = feature
        super().__init__(f"soniq has no counterpart of Celery's {feature}: {instead}")


def refuse(where: str, options: Mapping[str, Any], refused: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse what is in ``refused``, unless it is switched off, and what nobody knows.

    :raises Unsupported: names the option and what to do instead
    """
    for name, value in options.items():
        if name in refused:
            if value is not None and not (name == "serializer" and value == "json"):
                raise Unsupported(f"{name}={value!r} ({where})", refused[name])
        elif name not in known:
            raise Unsupported(
                f"{name}={value!r} ({where})", f"leave it out; known: {', '.join(sorted(known))}"
            )
