"""What the tests stand on: their databases and the code that runs the documentation."""
