/** The names of counties, which snapshots leave out: read once for each region, and again when one is not known. */

const FRESH = 5 * 60_000;
const AGAIN = 30_000;

/** Follows the regions of a Pulse; `changed()` is called when names have come. */
export class Counties {
  #pulse;
  #changed;
  #names = new Map();
  #reads = new Map();

  constructor(pulse, changed) {
    this.#pulse = pulse;
    this.#changed = changed;
  }

  /** The name of a county, or its id as long as there is none. */
  name(countyId) {
    return this.#names.get(countyId) ?? countyId;
  }

  /** Reads a region's counties if they may be other ones than those known; called after each snapshot. */
  async follow({ regionId, facilities }) {
    const { at = -Infinity, isReading = false } = this.#reads.get(regionId) ?? {};
    const isComplete = [...facilities.values()].every(({ countyId }) => !countyId || this.#names.has(countyId));
    if (isReading || performance.now() - at < (isComplete ? FRESH : AGAIN)) return;
    this.#reads.set(regionId, { at: performance.now(), isReading: true });
    try {
      const { counties } = await this.#pulse.request(`/regions/${encodeURIComponent(regionId)}/counties`);
      let isOther = false;
      for (const { countyId, name } of Array.isArray(counties) ? counties : []) {
        if (typeof countyId !== "string" || typeof name !== "string" || !name.trim()) continue;
        isOther ||= this.#names.get(countyId) !== name;
        this.#names.set(countyId, name);
      }
      if (isOther) this.#changed();
    } catch {
      // Ids are shown meanwhile; the next snapshots try again.
    } finally {
      this.#reads.set(regionId, { at: performance.now(), isReading: false });
    }
  }
}
