"""What the product tells its operators: dotted event names with fields, through one logger."""

import json
import logging

logger = logging.getLogger("facility_pulse")


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Logs one event, e.g. `sweep.ended {"sessions":3}`; Application Insights parses the JSON part.

    Fields never hold tokens, connection strings or bodies.
    """
    if logger.isEnabledFor(level):
        logger.log(level, "%s %s", name, json.dumps(fields, separators=(",", ":"), default=str))
