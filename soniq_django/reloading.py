"""``soniq_worker --reload``: watch the code, and replace the workers when it changes.

The process that watches runs no jobs: it supervises workers that are programs of their own, and goes on
when a change does not even compile. Django's autoreloader does the watching, so watchman is used where
there is one; but where Django would end the process that runs the changed code, here the supervisor is told.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.utils import autoreload

from soniq.steady import get_logger

logger = get_logger("soniq.supervisor")


@contextmanager
def watching(changed: Callable[[], object]) -> Iterator[None]:
    """Within the block, call ``changed`` (on another thread) when a file of the project changes."""
    reloader = autoreload.get_reloader()
    for directory, pattern in sorted(watched()):
        reloader.watch_dir(directory, pattern)

    def tell(*, file_path: Path, **_: Any) -> bool:
        logger.info("%s changed, replacing the worker", file_path)
        changed()
        return True  # or Django would end this process

    autoreload.file_changed.connect(tell, dispatch_uid="soniq_django.reloading")
    autoreload.autoreload_started.send(sender=reloader)  # templates and translations join in
    threading.Thread(target=reloader.run_loop, name="soniq-watch", daemon=True).start()
    try:
        yield
    finally:
        reloader.stop()
        autoreload.file_changed.disconnect(dispatch_uid="soniq_django.reloading")


def watched() -> set[tuple[Path, str]]:
    """Directories and patterns, besides the modules that are loaded here.

    A worker may import what this process has not: modules that are new, or imported late. So all modules of
    the project's apps count, and all beside a module that is loaded. Installed packages are left out.
    """
    trees = {(Path(config.path), "**/*.py") for config in apps.get_app_configs()}
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    beside = {(Path(file).parent, "*.py") for file in loaded if file}
    installed = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")})
    return {
        (directory, pattern)
        for directory, pattern in trees | beside
        if not any(directory.is_relative_to(root) for root in installed)
    }
