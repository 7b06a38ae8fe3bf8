/** Whether what is shown can still be believed: calls that fail for two intervals make it stale, whoever is at fault. */

const INTERVALS = 2;

/** Follows kinds of calls, each by itself; `changed(isStale, since)` when the whole turns stale, or is well again. */
export class Reachability {
  #kinds = new Map();
  #changed;
  #timer = null;
  #stale = null;

  constructor(changed) {
    this.#changed = changed;
    this.interval = 30_000;
  }

  /** Milliseconds since 1970 up to which everything was well, or null when it is now. */
  get staleSince() {
    return this.#stale;
  }

  worked(kind) {
    this.#kinds.set(kind, { workedAt: Date.now(), isFailing: false });
    this.#look();
  }

  failed(kind) {
    const { workedAt, isFailing } = this.#kinds.get(kind) ?? { workedAt: Date.now(), isFailing: false };
    // While nothing is called, nothing fails: a quiet time (sleep, a hidden tab) is not an outage.
    const since = isFailing ? workedAt : Math.max(workedAt, Date.now() - this.interval);
    this.#kinds.set(kind, { workedAt: since, isFailing: true });
    this.#look();
  }

  /** Calls of this kind are no longer made. */
  forget(kind) {
    this.#kinds.delete(kind);
    this.#look();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #look() {
    clearTimeout(this.#timer);
    const failing = [...this.#kinds.values()].filter(({ isFailing }) => isFailing).map(({ workedAt }) => workedAt);
    const since = failing.length ? Math.min(...failing) : null;
    const left = since === null ? Infinity : since + INTERVALS * this.interval - Date.now();
    if (left > 0 && Number.isFinite(left)) this.#timer = setTimeout(() => this.#look(), left);
    const stale = left > 0 ? null : since;
    if ((stale === null) === (this.#stale === null)) return;
    this.#stale = stale;
    this.#changed(stale !== null, stale);
  }
}
