"""The queues that are measured, one module each."""

from benchmarks.peers.base import DatabasePeer
from benchmarks.peers.celery import CeleryPeer
from benchmarks.peers.django_q import DjangoQPeer
from benchmarks.peers.django_tasks import DjangoTasksPeer
from benchmarks.peers.limit import LimitPeer
from benchmarks.peers.pgqueuer import PgQueuerPeer
from benchmarks.peers.plain import PlainPeer
from benchmarks.peers.procrastinate import ProcrastinatePeer
from benchmarks.peers.soniq import SoniqPeer

NAMES = ("soniq", "limit", "django", "pgqueuer", "procrastinate", "django-tasks-db", "django-q2", "celery")


def all_peers() -> list[DatabasePeer]:
    """Each peer in each variant that some figure measures, ours first."""
    return [
        SoniqPeer(),
        SoniqPeer("NOTIFY off", notify=False),
        LimitPeer(notify="inside"),
        LimitPeer("batch 10", batch=10),
        LimitPeer("batch 1", batch=1),
        LimitPeer("no NOTIFY", notify="no"),
        LimitPeer("NOTIFY after commit", notify="after"),
        PlainPeer("create"),
        PlainPeer("async"),
        PlainPeer("raw SQL", raw=True),
        PlainPeer("raw SQL, NOTIFY", raw=True, notify=True),
        PgQueuerPeer("batch 100", batch=100),
        PgQueuerPeer("batch 10"),
        ProcrastinatePeer(),
        DjangoTasksPeer(),
        DjangoQPeer(),
        CeleryPeer(),
    ]


__all__ = ["NAMES", "DatabasePeer", "all_peers"]
