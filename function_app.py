"""The function app: every blueprint registered, no logic."""

import azure.functions as func

from functions import BLUEPRINTS
from shared import bootstrap, metrics_export

# A bad setting stops the app here, with one line that names it.
bootstrap.check_settings()
metrics_export.start(bootstrap.services().settings.telemetry)

app = func.FunctionApp()
for blueprint in BLUEPRINTS:
    app.register_functions(blueprint)
