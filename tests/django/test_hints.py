"""Hints of threads that commit at the same time share a statement."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

import pytest

pytest.importorskip("psycopg")

from soniq_django import notify


class Sender(notify.HintSender):
    """Holds each statement until it is let go."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__("default", clock=lambda: self.now)
        self.sent: list[set[str]] = []
        self.sending = threading.Event()
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def _notify(self, queues: Collection[str]) -> None:
        self.sent.append(set(queues))
        self.sending.set()
        assert self.go_on.wait(10)
        if self.error is not None:
            error, self.error = self.error, None
            raise error


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender()
    yield made
    made.go_on.set()


@pytest.fixture
def first(sender: Sender) -> Iterator[threading.Thread]:
    """A thread that is sending a hint at "a"."""
    thread = threading.Thread(target=sender.send, args=[{"a"}])
    thread.start()
    assert sender.sending.wait(10)
    yield thread
    sender.go_on.set()
    thread.join(10)


def test_hints_that_come_while_one_is_sent_share_the_next_statement(
    sender: Sender, first: threading.Thread
) -> None:
    sender.send({"b"})
    sender.send({"a"})
    assert sender.sent == [{"a"}]

    sender.go_on.set()
    first.join(10)

    assert sender.sent == [{"a"}, {"a", "b"}]


def test_a_hint_that_comes_after_the_last_statement_is_sent_by_itself(
    sender: Sender, first: threading.Thread
) -> None:
    sender.go_on.set()
    first.join(10)

    sender.send({"b"})

    assert sender.sent == [{"a"}, {"b"}]


def test_a_thread_that_hangs_is_not_waited_for(sender: Sender, first: threading.Thread) -> None:
    sender.send({"b"})
    sender.now += notify.SENDING
    second = threading.Thread(target=sender.send, args=[{"c"}])
    second.start()
    sender.go_on.set()
    first.join(10)
    second.join(10)

    assert sender.sent[0] == {"a"}
    assert set().union(*sender.sent[1:]) == {"b", "c"}


def test_what_was_left_to_a_statement_that_failed_goes_out_with_the_next(sender: Sender) -> None:
    sender.error = OSError("gone")
    failing = threading.Thread(target=lambda: _ignoring(sender, {"a"}))
    failing.start()
    assert sender.sending.wait(10)
    sender.send({"b"})
    sender.go_on.set()
    failing.join(10)

    sender.send({"c"})

    assert sender.sent == [{"a"}, {"b", "c"}]


def _ignoring(sender: Sender, queues: set[str]) -> None:
    with pytest.raises(OSError, match="gone"):
        sender.send(queues)
