"""Facilities that stay offline: announced once to their region and to a webhook, and so is their return."""
