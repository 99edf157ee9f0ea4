"""What jobs that use the ORM read and write."""

from django.db import models

ITEMS = 1000


class Item(models.Model):
    """Something to read: rows 1 to :data:`ITEMS`."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Effect(models.Model):
    """What a job wrote. A job that ran twice left two."""

    number = models.IntegerField()
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"{self.number}: {self.name}"
