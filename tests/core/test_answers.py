"""Threads that answer an event loop."""

import asyncio
import threading

import pytest

from soniq.answers import Answers
from soniq.slots import SlotThread


@pytest.fixture
def thread():
    made = SlotThread("test", lambda: None)
    yield made
    made.shutdown()


async def test_the_loop_hears_what_the_thread_returned(thread):
    assert await thread.answer(lambda a, b: (a, b, threading.current_thread().name), 1, b=2) == (1, 2, "test")


async def test_the_loop_hears_what_the_thread_raised(thread):
    with pytest.raises(KeyError, match="gone"):
        await thread.answer({}.__getitem__, "gone")


async def test_a_stop_iteration_does_not_hang_its_caller(thread):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await thread.answer(next, iter([]))


async def test_a_call_that_nobody_waits_for_any_more_is_not_made(thread):
    held, made = threading.Event(), []
    first = thread.answer(held.wait)
    second = thread.answer(made.append, 1)
    second.cancel()
    held.set()
    await first
    await thread.answer(lambda: None)
    assert made == []
    assert not thread.busy


async def test_a_caller_that_gave_up_while_its_call_ran_does_not_disturb_the_others(thread):
    held = threading.Event()
    first = thread.answer(held.wait)
    second = thread.answer(lambda: "second")
    await asyncio.sleep(0)
    first.cancel()
    held.set()
    assert await second == "second"


async def test_answers_that_come_together_wake_the_loop_once(monkeypatch):
    answers, loop = Answers(), asyncio.get_running_loop()
    wakes = []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda call: (wakes.append(call), wake(call)))
    futures = [answers.future() for _ in range(3)]

    def give():
        for number, future in enumerate(futures):
            answers.put(future, number)

    teller = threading.Thread(target=give)
    teller.start()
    teller.join()
    assert await asyncio.gather(*futures) == [0, 1, 2]
    assert len(wakes) == 1


async def test_the_thread_is_idle_before_its_caller_hears_of_it(thread):
    assert [(await thread.answer(lambda: None), thread.busy)[1] for _ in range(50)] == [False] * 50


def test_an_answer_to_a_loop_that_is_closed_is_dropped():
    thread = SlotThread("test", lambda: None)
    held = threading.Event()

    async def ask() -> None:
        thread.answer(held.wait)

    asyncio.run(ask())
    held.set()
    thread.shutdown()
