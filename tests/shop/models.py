from django.db import models


class Note(models.Model):
    """Something a job can leave behind."""

    text = models.TextField()

    def __str__(self) -> str:
        return self.text


class Order(models.Model):
    """What the documentation's examples are about."""

    email = models.EmailField()

    def __str__(self):
        return f"order {self.pk}"
