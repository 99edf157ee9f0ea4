"""The rooms behind :class:`soniq_django.backend.DjangoBackend`: one file per table, and the hot path.

``orm`` says the hot path (enqueue, claim, apply) in the ORM, for every database. ``postgres`` says it
again in SQL, where ``benchmarks/`` shows what that buys; the conformance suite holds both to the same
behaviour.
"""
