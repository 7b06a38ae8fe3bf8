"""The rules of presence: frozen values and pure functions that take `now`. Standard library only.

Times are integer milliseconds since the Unix epoch, UTC; durations are milliseconds too.
"""
