"""Settings of the workers under test: the test project on the database of one scenario."""

import json
import os

from tests.settings import *  # noqa: F403  # the project is the same

_given = json.loads(os.environ["FAULTS_SETTINGS"])

DATABASES = {"default": _given["database"]}
SONIQ = _given["soniq"]
