"""Measurements of the product: `python -m bench`. Every module here that defines `BENCH` is a benchmark."""
