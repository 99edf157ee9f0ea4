"""What a process that was just spawned calls first; imports no models before Django is set up."""

import django


def open_django_backend(alias):
    """The store on the database that the test uses."""
    django.setup()
    from soniq_django.backend import DjangoBackend  # the models need setup()

    return DjangoBackend(alias)
