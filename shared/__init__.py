"""The product behind the functions: rules in `domain`, adapters beside it, wiring in `bootstrap`."""
