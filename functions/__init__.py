"""The functions, one trigger per file. `BLUEPRINTS` says which of them are deployed."""

from functions import (
    agent_status,
    agents,
    config,
    dashboard,
    end_session,
    expire_session,
    facility,
    facility_activity,
    facility_history,
    fallback,
    health,
    heartbeat,
    heartbeats,
    ingest_heartbeats,
    monitor_sessions,
    negotiate,
    openapi,
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
    agents.bp,
    agent_status.bp,
    end_session.bp,
    facility_history.bp,
    facility_activity.bp,
    config.bp,
    openapi.bp,
    dashboard.bp,
    health.bp,
    fallback.bp,
)

openapi.document_these(BLUEPRINTS)
