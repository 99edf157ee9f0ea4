"""The test project with times as they were before Django knew of time zones."""

from tests.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "America/New_York"
