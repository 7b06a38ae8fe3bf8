"""Sessions and facilities in Redis: every key, every script, and the typed calls around them."""
