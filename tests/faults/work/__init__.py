"""An app whose jobs tell what happens to them, and some of which misbehave."""
