"""Whether the pipeline itself can be trusted (contract, rule 6): nobody is called silent while it is not listening."""

from dataclasses import dataclass, field, replace

from shared.domain.silence import Silence


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
    `silence`: where the rule of mass silence stands.
    `swept_at`: when the sweep last looked.
    """

    watermark: int | None = None
    stale_since: int | None = None
    hold_until: int | None = None
    silence: Silence = field(default_factory=Silence)
    swept_at: int | None = None

    @property
    def stale(self) -> bool:
        """Whether clients are told not to trust what they see, be it for a stall or for mass silence."""
        return self.unsure_since is not None

    @property
    def unsure_since(self) -> int | None:
        """From which moment on what clients see may be wrong; None when it is right."""
        return self.silence.since if self.stale_since is None else self.stale_since

    @property
    def nobody_expires_until(self) -> int:
        """The end of the holds in force (ms), 0 without one; sessions that left end all the same."""
        return max(self.hold_until or 0, self.silence.until or 0)

    def lag(self, now: int) -> int | None:
        """Returns how far the watermark is behind `now`, in ms; None without one."""
        return None if self.watermark is None else max(0, now - self.watermark)

    def is_stalled(self, now: int, timing: PipelineTiming) -> bool:
        """Returns whether the watermark has stopped too long ago, or is as far ahead of a clock that was set back."""
        return self.watermark is not None and abs(now - self.watermark) > timing.stale_after

    def may_end_sessions(self, now: int, timing: PipelineTiming) -> bool:
        """Returns whether the watermark is current; during `hold_until` only sessions that left may end."""
        return self.watermark is not None and not self.is_stalled(now, timing)


def observe(
    state: PipelineState, watermark: int | None, now: int, timing: PipelineTiming, *, heard_since: int | None = None
) -> PipelineState:
    """Returns the state after looking at the stream once more.

    `heard_since`: before the first watermark, since when there have been sessions; None without any.

    1. The watermark never goes back. One too far ahead of a clock that was set back waits for that clock: what was
       stamped before the step, sessions and their deadlines, is ahead just as far, so nobody could be called silent.
    2. If it was too far behind (or ahead) before this look, or still is, the pipeline is stalled since where it
       stopped, or since `now` if that is earlier.
    3. Once it is current again, the sessions that were online have one TTL to be heard.
    4. When everything received in that TTL is ingested, the stall is over.
    5. A first start without sessions is not stalled. Where sessions are heard though a part of the stream never was,
       the pipeline is stalled since they are, as soon as that is too long ago.
    """
    known = [mark for mark in (state.watermark, watermark) if mark is not None]
    after = replace(state, watermark=max(known, default=None))
    if state.is_stalled(now, timing):
        stopped_at = state.stale_since
        if stopped_at is None and state.watermark is not None:
            stopped_at = min(state.watermark, now)
        after = replace(after, stale_since=stopped_at, hold_until=None)
    elif state.watermark is None and heard_since is not None and now - heard_since > timing.stale_after:
        after = replace(after, stale_since=heard_since if state.stale_since is None else state.stale_since)
    if after.stale_since is not None and after.may_end_sessions(now, timing):
        if after.hold_until is None:
            return replace(after, hold_until=now + timing.ttl)
        if after.watermark is not None and after.watermark >= after.hold_until:
            return replace(after, stale_since=None, hold_until=None)
    return after
