"""Simulated front-ends of the demo users, and a live view of what their coming and going makes of the facilities."""
