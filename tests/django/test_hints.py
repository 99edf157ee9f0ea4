"""Hints of threads that commit at the same time share a statement, and one is enough for a moment."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

import pytest

from soniq_django import hints
from soniq_django.hints import ECHO, QUIET
from soniq_django.listener import Echoes


class Sender(hints.HintSender):
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
    sender.now += QUIET
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
    sender.now += hints.SENDING
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


def test_a_hint_is_enough_for_a_moment(sender: Sender) -> None:
    sender.go_on.set()
    sender.send({"a"})
    sender.now += QUIET / 2
    sender.send({"a"})
    sender.send({"a", "b"})
    assert sender.sent == [{"a"}, {"b"}]

    sender.now += QUIET
    sender.send({"a"})
    assert sender.sent == [{"a"}, {"b"}, {"a"}]


def test_nobody_relies_on_a_hint_that_failed(sender: Sender) -> None:
    sender.go_on.set()
    sender.error = OSError("gone")
    _ignoring(sender, {"a"})

    sender.send({"a"})

    assert sender.sent == [{"a"}, {"a"}]


def test_what_a_process_remembers_of_its_hints_is_bounded(sender: Sender) -> None:
    sender.go_on.set()
    for number in range(hints.MOST_QUEUES * 3):
        sender.send({str(number)})

    assert len(sender._told) <= hints.MOST_QUEUES + 1


def test_each_hint_has_a_second_look_after_it() -> None:
    """Of a dense row of hints the first and the last, and every ECHO seconds one in between."""
    echoes = Echoes()
    assert echoes.next == float("inf")
    looks = []
    heard = [number * ECHO / 5 for number in range(21)]
    for now in [*heard, heard[-1] + ECHO / 2, heard[-1] + ECHO]:
        if now in heard:
            echoes.heard("a", now)
        if echoes.due(now):
            looks.append(now)

    assert looks[0] == pytest.approx(ECHO)
    assert looks[-1] == pytest.approx(heard[-1] + ECHO)
    assert len(looks) == 5
    assert echoes.next == float("inf")


def test_a_second_look_is_longer_after_a_hint_than_others_rely_on_it() -> None:
    assert ECHO >= 2 * QUIET


def _ignoring(sender: Sender, queues: set[str]) -> None:
    with pytest.raises(OSError, match="gone"):
        sender.send(queues)
