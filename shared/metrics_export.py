"""Sends the product's metrics to Application Insights, once a minute."""

import logging
import threading

from opentelemetry import metrics

from shared.settings import TelemetrySettings

logger = logging.getLogger(__name__)

INTERVAL_MS = 60_000


def start(settings: TelemetrySettings) -> threading.Thread | None:
    """Begins to export in the background; does nothing without a connection string, or where the worker exports.

    The exporter takes half a second to import, which no first heartbeat should wait for.
    """
    if settings.connection_string is None or settings.worker_exports:
        return None
    thread = threading.Thread(target=_export, args=(settings,), name="metrics export", daemon=True)
    thread.start()
    return thread


def _export(settings: TelemetrySettings) -> None:
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    try:
        # Entra sign-in comes from APPLICATIONINSIGHTS_AUTHENTICATION_STRING, which the exporter reads as the host does.
        exporter = AzureMonitorMetricExporter(connection_string=settings.connection_string)
    except ValueError as error:
        logger.error("metrics are not exported: APPLICATIONINSIGHTS_CONNECTION_STRING: %s", error)  # noqa: TRY400
        return
    resource = Resource({"service.name": settings.role, "service.instance.id": settings.instance})
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=INTERVAL_MS)
    metrics.set_meter_provider(MeterProvider([reader], resource))
