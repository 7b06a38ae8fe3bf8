"""A Functions host for one machine: real triggers, driving Microsoft's own Python worker in the same process."""
