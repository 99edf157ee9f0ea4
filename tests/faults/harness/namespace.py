"""A network of two: this machine, and a namespace in which a worker can be made deaf."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

DEAD_ADDRESS = "02:00:00:00:00:01"  # of no machine


class Namespace:
    """One namespace, joined to this machine by a cable with two ends."""

    def __init__(self) -> None:
        number = os.getpid() % 16_000
        self.name = f"soniq{number}"
        self._here, self._there = f"sqh{number}", f"sqt{number}"
        net = f"10.213.{number // 64}.{number % 64 * 4}"
        head, last = net.rsplit(".", 1)
        self.host, self._guest = f"{head}.{int(last) + 1}", f"{head}.{int(last) + 2}"

    @property
    def enter(self) -> tuple[str, ...]:
        """What to start a command with, to have it run in there."""
        return ("ip", "netns", "exec", self.name)

    def set_up(self) -> None:
        """Make it.

        :raises OSError: this is not possible here
        """
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
        self._ip("address", "add", f"{self.host}/30", "dev", self._here)
        self._ip("link", "set", self._here, "up")
        self._ip("-n", self.name, "address", "add", f"{self._guest}/30", "dev", self._there)
        self._ip("-n", self.name, "link", "set", self._there, "up")
        self._ip("-n", self.name, "link", "set", "lo", "up")

    def silence(self) -> None:
        """From now on nothing from here arrives there, and nobody is told."""
        self._ip(
            "neigh", "replace", self._guest, "lladdr", DEAD_ADDRESS, "dev", self._here, "nud", "permanent"
        )

    def heal(self) -> None:
        """End the silence."""
        self._ip("neigh", "del", self._guest, "dev", self._here)

    def tear_down(self) -> None:
        """Take it away."""
        for command in (("link", "del", self._here), ("netns", "del", self.name)):
            subprocess.run(["ip", *command], capture_output=True, check=False)

    def _ip(self, *arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def namespace() -> Iterator[Namespace]:
    """One that lasts for a block.

    :raises OSError: this is not possible here
    """
    made = Namespace()
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()
