"""An app whose jobs the tests of workers and transactions run."""
