"""Every minute: status, history and session log to SQL, directory to Redis."""

import azure.functions as func

from shared.bootstrap import services

bp = func.Blueprint()


@bp.timer_trigger(arg_name="timer", schedule="%MONITOR_SCHEDULE%", run_on_startup=False, use_monitor=True)
async def monitor_sessions(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- the trigger's parameter
    """Moves what changed since the last run."""
    await services().monitor.run()
