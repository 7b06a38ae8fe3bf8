"""The use cases behind the event and timer functions: ingest, sweep, monitor."""
