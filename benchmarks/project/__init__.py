"""A small Django project whose only app is the work to be done."""
