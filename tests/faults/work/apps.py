from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "tests.faults.work"
    label = "faults_work"
