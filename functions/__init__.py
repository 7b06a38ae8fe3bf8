"""The functions, one trigger per file. `BLUEPRINTS` says which of them are deployed."""

from functions import (
    config,
    dashboard,
    expire_session,
    facility,
    fallback,
    health,
    heartbeat,
    heartbeats,
    ingest_heartbeats,
    monitor_sessions,
    negotiate,
    region_facilities,
    regions,
    sweep_sessions,
)

BLUEPRINTS = (
    heartbeat.bp,
    heartbeats.bp,
    ingest_heartbeats.bp,
    expire_session.bp,
    sweep_sessions.bp,
    monitor_sessions.bp,
    negotiate.bp,
    regions.bp,
    region_facilities.bp,
    facility.bp,
    config.bp,
    dashboard.bp,
    health.bp,
    fallback.bp,
)
