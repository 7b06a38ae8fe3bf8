"""Every second: what fell silent is ended."""

import azure.functions as func

from shared.bootstrap import services

bp = func.Blueprint()


@bp.timer_trigger(arg_name="timer", schedule="%SWEEP_SCHEDULE%", run_on_startup=False, use_monitor=False)
async def sweep_sessions(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- the trigger's parameter
    """Moves the watermark and ends what is due at it."""
    await services().sweep.run()
