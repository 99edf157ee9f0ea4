from django.db import models


class Note(models.Model):
    """Something a job can leave behind."""

    text = models.TextField()

    def __str__(self) -> str:
        return self.text
