"""Chance that can be repeated: each scenario prints its seed, and SONIQ_TEST_SEED sets it."""

import os
import random
import secrets


def seeded() -> random.Random:
    """A source of chance; says how to get the same again."""
    seed = int(os.environ.get("SONIQ_TEST_SEED") or secrets.randbelow(10**9))
    print(f"seed {seed}; replay with SONIQ_TEST_SEED={seed}")
    return random.Random(seed)


def size(name: str, small: int, full: int) -> int:
    """How large to make a scenario: SONIQ_TEST_<NAME>, or ``full`` with SONIQ_TEST_FULL, or ``small``."""
    return int(os.environ.get(f"SONIQ_TEST_{name}") or (full if os.environ.get("SONIQ_TEST_FULL") else small))
