"""What users may import is written down: sorted, complete, and documented."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import soniq
import soniq.testing
import soniq_django.testing
from soniq import errors
from tests.support.docs import ROOT

MODULES = [soniq, soniq.testing, soniq_django.testing]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_without_doubles(module):
    """So that a diff shows what changed."""
    assert module.__all__ == sorted(set(module.__all__))


def test_all_names_exactly_what_the_package_exports():
    """Public names that are no modules, neither more nor fewer."""
    exported = [
        name
        for name, value in vars(soniq).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert sorted(exported) == soniq.__all__


def test_the_kit_exports_what_its_users_get():
    """Nothing of what it is made of."""
    exported = [
        name
        for name, value in vars(soniq_django.testing).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "follow_python"
    ]
    assert sorted(exported) == soniq_django.testing.__all__


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_can_be_imported(module):
    """from soniq import *."""
    namespace = {}
    exec(f"from {module.__name__} import *", namespace)
    assert set(module.__all__) <= set(namespace)


def public_callables():
    """Every exported callable, and every public method of the exported classes."""
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value):
                continue
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for member, attribute in vars(value).items():
                    if not member.startswith("_") and callable(getattr(value, member)):
                        yield f"{module.__name__}.{name}.{member}", inspect.unwrap(getattr(value, member))
                    elif not member.startswith("_") and isinstance(attribute, property):
                        yield f"{module.__name__}.{name}.{member}", attribute


# Held to the contract by their protocol, which documents each method once.
OF_A_PROTOCOL = ("soniq.testing.MemoryBackend.", "soniq.testing.BackendConformance.")


def test_every_public_callable_has_a_docstring():
    """That promises something."""
    silent = [
        name
        for name, value in public_callables()
        if not inspect.getdoc(value) and not name.startswith(OF_A_PROTOCOL)
    ]
    assert silent == []


def test_every_module_has_a_docstring():
    """One page, one purpose."""
    modules = [
        found.name
        for package in MODULES
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    ]
    assert [name for name in modules if not __import__(name, fromlist=["x"]).__doc__] == []


def test_every_public_error_is_exported_and_has_a_code_of_its_own():
    """Programs can tell them apart by class and by code."""
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.SoniqError)
    ]
    assert {one.__name__ for one in classes} <= set(soniq.__all__)
    codes = [one.code for one in classes]
    assert len(codes) == len(set(codes))
    tree = errors.__doc__
    assert all(one.__name__ in tree for one in classes)


@pytest.mark.slow
def test_soniq_works_where_django_is_not_installed():
    """Neither importing nor running a job touches it."""
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "asgiref", "tqdm"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import asyncio, soniq
app = soniq.Soniq(backend="memory")
@app.job
async def work():
    return "ran"
async def main():
    job_id = await app.enqueue(work)
    await app.run_worker(run_once=True)
    print(await app.get_result(job_id))
asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "ran"
