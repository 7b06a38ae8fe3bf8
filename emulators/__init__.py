"""Local stand-ins for the Azure services: real servers on real sockets, each in its own process."""
