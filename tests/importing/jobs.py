"""What the tasks of the other queues have become, under their old names and under new ones."""

import soniq


@soniq.job
def send_receipt(order_id: int, note: str = "") -> str:
    return f"{order_id} {note}".strip()


@soniq.job(name="moving.renamed", queue="emails", priority=300)
def renamed(order_id: int) -> None: ...


def not_a_job(order_id: int) -> None: ...


SEND = "tests.importing.jobs.send_receipt"
