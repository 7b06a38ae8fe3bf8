"""Mass silence as the sweep meets it: counts who is heard, but only when that can decide something."""

from dataclasses import replace

from shared.domain.pipeline import PipelineState
from shared.domain.silence import Silence, SilenceTiming, judge
from shared.registry.registry import Registry


class SilenceWatch:
    """One per process. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, registry: Registry, timing: SilenceTiming) -> None:
        self._registry = registry
        self._timing = timing
        self._counted: tuple[int, Silence, Silence] | None = None

    async def look(self, state: PipelineState, now: int, due: int) -> PipelineState:
        """`due`: how many facilities wait for the sweep. Returns the state with where the rule stands at its watermark.

        A hold that ends before its time has those it put off looked at again. Nothing is counted while the pipeline
        is stalled or recovers from that, as nobody is due then.
        """
        before, watermark = state.silence, state.watermark
        if watermark is None or not self._has_something_to_judge(state, due):
            return state
        after = Silence()
        if self._timing.hold:
            census = await self._registry.census(watermark, watermark - self._timing.window)
            after = judge(before, census, watermark, now, self._timing)
        if before.until is not None and not after.holds:
            await self._registry.look_again(before.until, watermark)
        return replace(state, silence=after)

    async def forbids(self, state: PipelineState, watermark: int, now: int) -> bool:
        """Returns whether a sweep out of turn at `watermark` would end somebody whom the next sweep may hold.

        A count is good for a hundredth of a TTL: expired keys are reported one by one, and often all at once.
        """
        if not self._timing.hold or state.silence.holds or state.stale_since is not None:
            return False
        held = self._counted
        if held is not None and held[1] == state.silence and 0 <= now - held[0] <= self._timing.ttl // 100:
            return held[2].holds
        census = await self._registry.census(watermark, watermark - self._timing.window)
        verdict = judge(state.silence, census, watermark, now, self._timing)
        self._counted = now, state.silence, verdict
        return verdict.holds

    def _has_something_to_judge(self, state: PipelineState, due: int) -> bool:
        if state.silence.holds or not self._timing.hold:
            return state.silence != Silence()
        return state.stale_since is None and (state.silence.resting or due > 0)
