"""Many workers fire the same schedules, and die as they do: one job per fire time, or none yet."""

import itertools
from datetime import datetime, timedelta

import pytest

from soniq.schedule_records import CONTEXT_KEY
from soniq_django.models import Job, Schedule
from tests.faults.harness.seeds import size
from tests.faults.harness.waiting import until
from tests.faults.work.jobs import quick

pytestmark = pytest.mark.faults

SECOND = timedelta(seconds=1)  # the shortest interval there is


def add(world, name, **options):
    """A schedule; the workers are told of it by nobody."""
    return world.app.scheduler.add_now(quick, name=name, every=SECOND, **options)


def fire_times(world, name):
    """Those that a job stands for, in order."""
    made_by = [context[CONTEXT_KEY] for context in world.rows(Job).values_list("context", flat=True)]
    return sorted(datetime.fromisoformat(one["fire_at"]) for one in made_by if one["name"] == name)


def stop_firing(world):
    """From here on no job is added; those that were are held to the invariants."""
    for schedule in world.rows(Schedule).all():
        world.app.scheduler.pause_now(schedule.name)
    world.enqueued += [str(pk) for pk in world.rows(Job).values_list("pk", flat=True)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [2, 5])
def test_of_many_schedulers_one_fires_each_time(world, workers):
    """Sixty fire times of four schedules that are all due in the same moments."""
    names = ["a", "b", "c", "d"]
    wanted = size("TICKS", small=60, full=600)
    # "all": a fire time that a busy machine sees late is to have its job, too.
    for name in names:
        add(world, name, misfire="all")
    world.start_many(workers, "--concurrency", "1")

    until(
        lambda: sum(world.rows(Schedule).values_list("fired", flat=True)) >= wanted,
        world.describe,
        timeout=30 + wanted,
    )
    stop_firing(world)
    world.finish()

    for schedule in world.rows(Schedule).filter(name__in=names):
        times = fire_times(world, schedule.name)
        steps = {later - earlier for earlier, later in itertools.pairwise(times)}
        assert steps == {SECOND}, f"{schedule.name}: {times}"
        assert (len(times), times[0], times[-1]) == (
            schedule.fired,
            schedule.anchor_at + SECOND,
            schedule.last_fire_at,
        )
        assert schedule.skipped == 0


@pytest.mark.parametrize("workers", [2, 5])
def test_schedulers_that_are_killed_again_and_again_fire_each_time_once(world, chance, workers):
    """Whoever dies, and wherever in its visit: none is doubled, and none is lost."""
    add(world, "a", misfire="all")
    running = world.start_many(workers, "--concurrency", "1", MAX_CRASHES=50)
    for number in range(size("ROUNDS", small=3, full=20)):
        until(
            lambda fired=2 * (number + 1): world.rows(Schedule).get().fired >= fired,
            world.describe,
        )
        victim = running.pop(chance.randrange(len(running)))
        victim.kill()
        running.append(world.start("--concurrency", "1", wait=False, MAX_CRASHES=50))
    stop_firing(world)
    world.finish()

    times = fire_times(world, "a")
    schedule = world.rows(Schedule).get()
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {SECOND}
    assert (len(times), schedule.skipped) == (schedule.fired, 0)


def one_due(world):
    """A schedule that fires once, in this moment."""
    start = world.app.backend.now() + SECOND
    add(world, "a", starts_at=start, ends_at=start)
    return start


def test_a_scheduler_killed_between_advance_and_enqueue_has_done_neither(world):
    """The next one fires that time, once."""
    pause = world.path()
    at = one_due(world)
    victim = world.start(environment={"FAULTS_PAUSE_WITHIN_FIRING": str(pause)})
    until(pause.exists, "the schedule being advanced")

    victim.kill()
    schedule = world.rows(Schedule).get()
    assert (schedule.next_fire_at, schedule.fired) == (at, 0)
    assert not world.rows(Job).exists()

    world.start()
    until(lambda: world.rows(Schedule).get().fired, world.describe)
    stop_firing(world)
    world.finish()
    assert fire_times(world, "a") == [at]


def test_a_scheduler_killed_right_after_its_commit_has_done_both(world):
    """The next one finds nothing to fire, and runs the job."""
    pause = world.path()
    at = one_due(world)
    victim = world.start(environment={"FAULTS_PAUSE_AFTER_FIRING": str(pause)})
    until(pause.exists, "the commit")

    victim.kill()
    schedule = world.rows(Schedule).get()
    assert (schedule.next_fire_at, schedule.fired) == (None, 1)
    assert str(schedule.last_job_id) == str(world.rows(Job).get().pk)

    world.start()
    stop_firing(world)
    world.finish()
    assert fire_times(world, "a") == [at]
    assert world.rows(Schedule).get().fired == 1
