"""What the commands of manage.py share: options, the database they work on, tables, questions."""
