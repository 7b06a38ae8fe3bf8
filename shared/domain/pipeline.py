"""Whether the pipeline itself can be trusted (contract, rule 6): nobody is called silent while it is not listening."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PipelineTiming:
    """Durations in milliseconds."""

    stale_after: int
    ttl: int


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Where ingestion stands.

    `watermark`: the moment up to which every accepted heartbeat is ingested; None before the first one is known.
    `stale_since`: where the watermark stopped, while the pipeline is stalled or recovers from it.
    `hold_until`: during recovery, the moment up to which silent sessions may still be heard.
    """

    watermark: int | None = None
    stale_since: int | None = None
    hold_until: int | None = None

    @property
    def stale(self) -> bool:
        """Whether clients are told not to trust what they see."""
        return self.stale_since is not None

    def lag(self, now: int) -> int | None:
        """Returns how far the watermark is behind `now`, in ms; None without one."""
        return None if self.watermark is None else max(0, now - self.watermark)

    def may_end_sessions(self, now: int, timing: PipelineTiming) -> bool:
        """Returns whether the watermark is current; during `hold_until` only sessions that left may end."""
        lag = self.lag(now)
        return lag is not None and lag <= timing.stale_after


def observe(state: PipelineState, watermark: int | None, now: int, timing: PipelineTiming) -> PipelineState:
    """Returns the state after looking at the stream once more.

    1. The watermark never goes back.
    2. If it was too far behind before this look, or still is, the pipeline is stalled since where it stopped.
    3. Once it is current again, the sessions that were online have one TTL to be heard.
    4. When everything received in that TTL is ingested, the stall is over.
    """
    stalled = state.watermark is not None and now - state.watermark > timing.stale_after
    known = [mark for mark in (state.watermark, watermark) if mark is not None]
    after = replace(state, watermark=max(known, default=None))
    if stalled:
        after = replace(after, stale_since=state.stale_since if state.stale else state.watermark, hold_until=None)
    if after.stale and after.may_end_sessions(now, timing):
        if after.hold_until is None:
            return replace(after, hold_until=now + timing.ttl)
        if after.watermark is not None and after.watermark >= after.hold_until:
            return replace(after, stale_since=None, hold_until=None)
    return after
