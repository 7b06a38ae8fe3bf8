"""An Event Hubs namespace on this machine: an AMQP 1.0 server that Microsoft's client libraries accept unchanged."""
