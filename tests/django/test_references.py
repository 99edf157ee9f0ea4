"""Model instances as arguments: stored as references, loaded where the job runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import Model
from django.db.utils import OperationalError
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy, override

import soniq
from soniq import InvalidArguments, Soniq
from soniq.backends.memory import MemoryBackend
from soniq.codec import REGISTERED, Types, decode_values, encode_values
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from tests.shop.models import Note, Order
from tests.support.vendors import ALIASES


class Memory(MemoryBackend):
    """Closes the connections of the slots' threads, as the store in the database does."""

    def release(self):
        connections.close_all()


@pytest.fixture(params=["django", "memory"])
async def app(request, transactional_db):
    """Jobs in the first database, and in memory: references are a matter of the environment alone."""
    backend = DjangoBackend("default") if request.param == "django" else Memory()
    app = Soniq(backend=backend, environment=DjangoEnvironment(), poll_interval=0.02, retry_delay=0)
    await app.setup()
    yield app
    await app.close()
    await sync_to_async(connections.close_all)()  # of the thread that asgiref keeps for async code


@pytest.fixture(params=["sync", "async", "sync with middleware"])
def declare(request, app):
    """Make a job of a function, in each of the ways in which one is run."""
    if "middleware" in request.param:

        @app.middleware
        async def through(ctx, call_next):
            return await call_next()

    def make(fn, **options):
        if request.param == "async":

            async def handler(order):
                return fn(order)

            handler.__annotations__ = fn.__annotations__
            return app.job(**options)(handler)
        return app.job(**options)(fn)

    return make


async def saved(model=Order, alias="default", **fields):
    return await model.objects.using(alias).acreate(**(fields or {"email": "ada@example.com"}))


async def ran(app, job_id):
    await app.run_worker(run_once=True)
    return await app.get_job(job_id)


async def test_instance_is_loaded_as_it_is_when_the_job_runs(app, declare):
    """Not as it was when the job was enqueued; on the thread of the slot."""
    seen = []

    def work(order: Order):
        seen.append((type(order), order.pk, order.email, order._state.adding))

    order = await saved()
    job_id = await app.enqueue(declare(work, name="work"), order=order)
    assert (await app.get_job(job_id))["args"] == {
        "order": {"$model": "shop.order", "pk": order.pk, "db": "default"}
    }
    await Order.objects.filter(pk=order.pk).aupdate(email="grace@example.com")
    assert (await ran(app, job_id))["status"] == "done"
    assert seen == [(Order, order.pk, "grace@example.com", False)]


async def test_async_job_finds_its_instance_on_the_thread_of_its_slot(app):
    """The one that its own ORM calls use: the same connection, hence the same view of the data."""
    threads = []

    class Watched(DjangoEnvironment):
        def around_sync(self):
            threads.append(threading.current_thread().name)
            return super().around_sync()

    app._environment = Watched()

    @app.job
    async def work(order: Order):
        return await Order.objects.filter(pk=order.pk).acount()

    job_id = await app.enqueue(work, order=await saved())
    assert (await ran(app, job_id))["result"] == 1
    assert [name.startswith("soniq-slot") for name in threads] == [True]


@pytest.mark.parametrize("missing", ["fail", "discard", "none"])
async def test_policy_says_what_becomes_of_a_job_whose_row_is_gone(app, declare, missing):
    """A dead letter, a job that is done without having run, or None."""
    seen = []

    def work(order: Order):
        seen.append(order)

    order = await saved()
    job_id = await app.enqueue(declare(work, name="work", missing=missing), order=order)
    pk = order.pk
    await order.adelete()
    job = await ran(app, job_id)
    assert seen == ([None] if missing == "none" else [])
    if missing == "fail":
        assert job is None
        letter = await app.dead_letter.get_dead_letter_job(job_id)
        assert letter.dead_letter_reason == "invalid_arguments"
        assert letter.attempts == 1
        assert f"args.order refers to shop.order (db=default, pk={pk}), which is gone" in letter.last_error
    else:
        assert job["status"] == "done"
        assert ("discarded without being run: args.order" in (job["last_error"] or "")) == (
            missing == "discard"
        )


async def test_database_that_is_away_fails_the_attempt_not_the_job(app, declare, monkeypatch):
    """The row may well be there; the next attempt finds it."""
    from soniq_django import references

    real, broken = references._rows, [True]

    def rows(*args):
        if broken:
            broken.clear()
            raise OperationalError("the server closed the connection")
        return real(*args)

    monkeypatch.setattr(references, "_rows", rows)

    def work(order: Order):
        return order.email

    job_id = await app.enqueue(declare(work, name="work", max_retries=1), order=await saved())
    job = await ran(app, job_id)
    assert (job["status"], job["attempts"]) == ("queued", 1)
    assert "OperationalError: the server closed the connection" in job["last_error"]
    assert (await ran(app, job_id))["result"] == "ada@example.com"


async def test_load_that_takes_too_long_is_a_timeout(app, monkeypatch):
    """The timeout of an async job holds for what is done before it starts."""
    from soniq_django import references

    proceed = threading.Event()

    def rows(*args):
        proceed.wait(30)
        return iter(())

    monkeypatch.setattr(references, "_rows", rows)

    @app.job(timeout=0.05, max_retries=0)
    async def work(order: Order):
        pass

    job_id = await app.enqueue(work, order=await saved())
    try:
        assert await ran(app, job_id) is None
    finally:
        proceed.set()
    assert (await app.dead_letter.get_dead_letter_job(job_id)).dead_letter_reason == "timeout"


async def test_result_is_loaded_when_it_is_asked_for(app):
    """It is a reference as well."""

    @app.job
    def work(email: str) -> Order:
        return Order.objects.create(email=email)

    job_id = await app.enqueue(work, email="x@example.com")
    await app.run_worker(run_once=True)
    order = await app.get_result(job_id)
    assert (type(order), order.email) == (Order, "x@example.com")
    await order.adelete()
    with pytest.raises(
        soniq.ReferenceGone, match=r"result refers to shop\.order \(db=default, pk=.* which is gone"
    ):
        await app.get_result(job_id)


async def test_check_loads_nothing(app):
    """Whether the arguments fit can be said without the rows."""
    from soniq.check import check_jobs

    @app.job
    def work(order: Order):
        pass

    order = await saved()
    await app.enqueue(work, order=order)
    await order.adelete()
    report = await sync_to_async(check_jobs)(app.backend, app.registry)
    assert (report.findings, report.examined) == ((), 1)


# -- storing and loading, without a worker


@dataclass(frozen=True)
class Sale:
    order: Order
    notes: tuple[Note, ...] = ()


def handler(sale: Sale, orders: list[Order], note: Note): ...


TYPES = Types.of(handler)


def there_and_back(value, types=TYPES, missing="fail"):
    return decode_values(encode_values(value, limit=10**6, types=types), types=types, missing=missing)


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_instance_comes_back_from_the_database_that_it_was_in(alias):
    """Also where that is not the one that jobs are in; in dataclasses, sets and keys, too."""
    order = Order.objects.using(alias).create(email="ada@example.com")
    note = Note.objects.using(alias).create(text="n")
    value = {"sale": Sale(order, (note, note)), "set": {order}, "by": {order: [note]}}
    back = there_and_back(value)
    assert back == value
    [key] = back["by"]
    assert key._state.db == alias


@pytest.mark.django_db
def test_many_instances_take_one_query_per_model():
    """Asked for once, however often they stand there; those of one row are one object."""
    orders = [Order.objects.create(email=f"{n}@example.com") for n in range(20)]
    note = Note.objects.create(text="n")
    stored = encode_values([orders, orders, note], limit=10**6, types=TYPES)
    with CaptureQueriesContext(connections["default"]) as queries:
        first, second, read = decode_values(stored, types=TYPES)
    assert (first, second, read) == (orders, orders, note)
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert len(queries) == 2


@pytest.mark.django_db
def test_lazy_object_is_what_it_stands_for():
    """Such as request.user."""
    order = Order.objects.create(email="x@example.com")
    assert there_and_back(SimpleLazyObject(lambda: order)) == order


def test_translation_is_text_in_the_language_of_the_caller():
    """The job may run in another language."""
    lazy = gettext_lazy("Yes")
    with override("de"):
        stored = encode_values([lazy], limit=1000)
    assert (stored, type(stored[0])) == (["Ja"], str)


@pytest.mark.django_db
def test_instance_is_found_whatever_its_key_was_given_as():
    """An instance keeps the text that it was saved with; rows have numbers."""
    order = Order.objects.create(pk=7, email="x@example.com")
    order.pk = "7"
    assert encode_values(order, limit=1000, types=TYPES)["pk"] == 7
    assert there_and_back(order).email == "x@example.com"


@pytest.mark.django_db
def test_unsaved_instance_is_refused():
    """There would be nothing to load; nor is there of one that was deleted."""
    deleted = Order.objects.create(email="x@example.com")
    deleted.delete()
    for order in (Order(email="x"), Order(pk=5, email="x"), deleted):
        with pytest.raises(InvalidArguments, match=r"args\[0\] is a Order that is not saved; save it first"):
            encode_values([order], limit=1000, types=TYPES)


@pytest.mark.django_db
def test_model_that_no_annotation_names_is_refused_on_both_sides():
    """What a handler does not ask for, no row makes the worker load; Model asks for any."""

    def takes_any(of: Model): ...

    def takes_notes(note: Note, text: str, anything: object): ...

    order = Order.objects.create(email="x@example.com")
    for types in (Types.of(takes_notes), REGISTERED):
        with pytest.raises(InvalidArguments, match=r"is a Order, which no annotation of .* names"):
            encode_values(order, limit=1000, types=types)
        with pytest.raises(InvalidArguments, match=r"args refers to a Order, which no annotation"):
            decode_values(encode_values(order, limit=1000), types=types)
    assert there_and_back(order, Types.of(takes_any)) == order


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"$model": "shop.order"}, "names no model, pk and db"),
        ({"$model": "shop.order", "pk": 1, "db": None}, "names no model, pk and db"),
        ({"$model": ["shop.order"], "pk": 1, "db": "default"}, "names no model, pk and db"),
        ({"$model": "shop.order", "pk": 1, "db": "default", "x": 1}, "names no model, pk and db"),
        ({"$model": "shop.gone", "pk": 1, "db": "default"}, "the model 'shop.gone', which this project"),
        ({"$model": "os.system", "pk": 1, "db": "default"}, "the model 'os.system', which this project"),
        ({"$model": "order", "pk": 1, "db": "default"}, "the model 'order', which this project"),
        ({"$model": "auth.user", "pk": 1, "db": "default"}, "refers to a User, which no annotation"),
        ({"$model": "shop.order", "pk": 1, "db": "elsewhere"}, "the database 'elsewhere'"),
        ({"$model": "shop.order", "pk": "x", "db": "default"}, "by what is no primary key"),
        ({"$model": "shop.order", "pk": 2**70, "db": "default"}, "by what is no primary key"),
        ({"$model": "shop.order", "pk": [1], "db": "default"}, "by what is no primary key"),
        ({"$model": "shop.order", "pk": {"$tuple": []}, "db": "default"}, "by what is no primary key"),
        ({"$model": "shop.order", "pk": {"$uuid": 1}, "db": "default"}, "stored as $uuid, but not as a text"),
        ({"$model": "shop.order", "$uuid": "x"}, "which this release does not know"),
    ],
)
def test_reference_that_others_wrote_is_refused(stored, says):
    """With its path; and no query is made for it."""
    with pytest.raises(InvalidArguments) as error:
        decode_values({"x": [stored]}, types=TYPES)
    assert says in str(error.value)
    assert error.value.path.startswith("args.x[0]") or "$uuid" in says


@pytest.mark.django_db
def test_reference_in_an_escaped_dict_is_none():
    """It is a dict of the user's that looks like one."""
    value = {"$model": "shop.order", "pk": 10**9, "db": "default"}
    assert there_and_back([value, {1: value}]) == [value, {1: value}]
