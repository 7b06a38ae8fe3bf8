"""The durable record of what changed: streams in Redis, read by consumer groups."""
