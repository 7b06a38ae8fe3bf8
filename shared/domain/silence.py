"""Mass silence (contract, rule 7): when most fall silent at once, the way to them is likelier broken than they gone."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class SilenceTiming:
    """When so few are heard that nobody is believed. `ttl` and `hold` in ms; `hold` 0 switches the rule off."""

    ttl: int
    hold: int = 0
    ratio: float = 0.5
    min_sessions: int = 20

    @property
    def window(self) -> int:
        """How long ago (ms) a session may have been heard to count as heard: two beats of three."""
        return self.ttl * 2 // 3

    @property
    def settling(self) -> int:
        """How long (ms) the rest is waited for once the share is heard again: one beat of three."""
        return self.ttl // 3


@dataclass(frozen=True, slots=True)
class Census:
    """The sessions online at a watermark, without those that said goodbye; `due`: one of them has passed its deadline.

    `heard`: those of them that were heard within `SilenceTiming.window`.
    """

    online: int = 0
    heard: int = 0
    due: bool = False

    def is_heard(self, ratio: float) -> bool:
        """Returns whether at least this share of the sessions was heard lately."""
        return self.heard >= ratio * self.online


@dataclass(frozen=True, slots=True)
class Silence:
    """Where the rule stands. Times in ms.

    `since`: the watermark at which a hold began, while it lasts; `until`: when it is over at the latest.
    `heard_at`: during a hold, since when enough sessions are heard again.
    `resting`: a hold ran out; the rule applies again once enough sessions are heard.
    """

    since: int | None = None
    until: int | None = None
    heard_at: int | None = None
    resting: bool = False

    @property
    def holds(self) -> bool:
        """Whether nobody expires now."""
        return self.since is not None


def judge(silence: Silence, census: Census, watermark: int, now: int, timing: SilenceTiming) -> Silence:
    """Returns where the rule stands after one more census at `watermark`.

    1. Armed: a session is due and fewer than the share are heard: the hold begins.
    2. Holding: over when everybody is heard, or the share has been for a beat's time, so that those whose turn comes
       a little later are not taken for gone; or at `until`, from when on the rule rests.
    3. Resting: armed again when the share is heard.
    """
    is_heard = census.is_heard(timing.ratio)
    if silence.holds:
        if silence.until is None or now >= silence.until:
            return Silence(resting=not is_heard)
        if not is_heard:
            return replace(silence, heard_at=None)
        heard_at = now if silence.heard_at is None else silence.heard_at
        if census.heard == census.online or now - heard_at >= timing.settling:
            return Silence()
        return replace(silence, heard_at=heard_at)
    if silence.resting:
        return Silence(resting=not is_heard)
    if census.due and not is_heard and census.online >= timing.min_sessions:
        return Silence(since=watermark, until=now + timing.hold)
    return silence
