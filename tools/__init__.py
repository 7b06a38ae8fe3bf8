"""What operators run from a checkout: packaging, smoke test, databases, costs. Nothing here is deployed."""
