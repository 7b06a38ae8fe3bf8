"""Heartbeats on their way through Event Hubs: wire format, publishing, canaries."""
