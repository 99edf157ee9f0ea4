"""What the scenarios stand on: servers, a proxy, workers, the ledger, and the invariants."""
