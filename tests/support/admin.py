"""What the tests of the admin need: people with permissions, jobs in every state, dead letters."""

from django.contrib.auth.models import Permission, User
from django.urls import reverse

from soniq import transitions
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, DeadLetterReason
from soniq_django.conf import current_app
from soniq_django.models import DeadLetterJob, Job
from tests.shop.jobs import send_receipt

TRACEBACK = """Traceback (most recent call last):
  File "shop/jobs.py", line 12, in send_receipt
    raise ConnectionError("no route to mail server")
ConnectionError: no route to mail server"""


def staff(*codenames):
    """A member of staff with these permissions, such as "view_job"."""
    user = User.objects.create_user(f"staff {User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    return user


def queued(**kwargs):
    """A job that waits."""
    return Job.objects.get(pk=send_receipt.enqueue(**{"order_id": 1, **kwargs}))


def claimed():
    """A job that runs, and its claim."""
    job_id = send_receipt.using(priority=0).enqueue(order_id=1)
    (claim,) = current_app().backend.claim(ClaimRequest(worker_id=str(uuid7()), limit=1))
    assert claim.job_id == job_id
    return Job.objects.get(pk=job_id), claim


def done(result=None):
    """A job that ended well."""
    job, claim = claimed()
    assert current_app().backend.apply([transitions.succeed(claim, result_json=result, ttl=None)]) == [True]
    return Job.objects.get(pk=job.pk)


def dead(*, reason=DeadLetterReason.MAX_RETRIES_EXCEEDED, error=TRACEBACK, **columns):
    """A job that gave up."""
    _, claim = claimed()
    assert current_app().backend.apply([transitions.bury(claim, reason=reason, error=error)]) == [True]
    if columns:
        DeadLetterJob.objects.filter(pk=claim.job_id).update(**columns)
    return DeadLetterJob.objects.get(pk=claim.job_id)


def page(model, name, *args):
    """The address of an admin page: `page("job", "change", pk)`."""
    return reverse(f"admin:soniq_django_{model}_{name}", args=args)


def act(client, model, action, rows, **more):
    """Choose an action for the rows in a list, and follow to where it leads."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(page(model, "changelist"), data, follow=True)


def said(response):
    """The messages shown on a page, as plain text."""
    return [str(message) for message in response.context["messages"]]
