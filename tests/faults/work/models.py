from django.db import models


class Row(models.Model):
    """What a run of a job left in the database."""

    job = models.UUIDField()
    attempt = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.job} {self.attempt}"
