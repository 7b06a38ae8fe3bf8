"""The functions, one trigger per file. `BLUEPRINTS` says which of them are deployed."""

from functions import (
    config,
    facility,
    fallback,
    health,
    heartbeat,
    heartbeats,
    negotiate,
    region_facilities,
    regions,
)

BLUEPRINTS = (
    heartbeat.bp,
    heartbeats.bp,
    negotiate.bp,
    regions.bp,
    region_facilities.bp,
    facility.bp,
    config.bp,
    health.bp,
    fallback.bp,
)
