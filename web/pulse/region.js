/** One region as it is held: a snapshot, and the numbered messages after it. No timers and no network. */

const MOST_HELD_BACK = 500;

/** Keeps a region's facilities; every method returns what changed. */
export class Region {
  #heldBack = [];
  #newest = -1;

  constructor(regionId) {
    this.regionId = regionId;
    this.name = regionId;
    this.sequence = -1;
    this.asOf = null;
    this.isLoaded = false;
    this.stale = false;
    this.staleSince = null;
    /** Facilities by id; each is replaced, never changed. */
    this.facilities = new Map();
  }

  /**
   * Takes a numbered message. Returns `{changed, staleChanged, alert, needsSnapshot}`; `needsSnapshot` when messages
   * are missing before it, or it names a facility that is not known.
   */
  receive(message) {
    const outcome = { changed: [], staleChanged: false, alert: null, needsSnapshot: false };
    const { sequence } = message;
    if (!Number.isSafeInteger(sequence) || (this.isLoaded && sequence <= this.sequence)) return outcome;
    if (!this.isLoaded || sequence > this.sequence + 1) {
      this.#holdBack(message);
      outcome.needsSnapshot = this.isLoaded;
    } else {
      this.sequence = sequence;
    }
    // What is new is shown at once, even if something before it is missing: versions keep it in order.
    if (sequence > this.#newest) {
      this.#newest = sequence;
      if (message.type === "presence.stale") outcome.staleChanged = this.#setStale(message.stale, message.since);
      if (message.type === "facility.alert") outcome.alert = message;
    }
    if (this.isLoaded && message.type === "facility.status") this.#apply(message, outcome);
    return outcome;
  }

  /**
   * Takes a snapshot in the place of what is held, and the messages after it. Returns as `receive` does, and
   * `isOlder`, when it knows less than is held and nothing was taken from it; `changed` has a facility once, as it is
   * now. Throws TypeError for another thing.
   */
  load(snapshot) {
    const outcome = { changed: [], staleChanged: false, alert: null, needsSnapshot: false, isOlder: false };
    const facilities = checked(snapshot);
    if (this.isLoaded && snapshot.sequence < this.sequence) return { ...outcome, isOlder: true };
    const before = this.facilities;
    this.facilities = new Map(facilities.map((item) => [item.facilityId, this.#facility(item)]));
    this.sequence = snapshot.sequence;
    this.asOf = snapshot.asOf;
    this.isLoaded = true;
    if (this.#newest <= snapshot.sequence) {
      this.#newest = snapshot.sequence;
      outcome.staleChanged = this.#setStale(snapshot.stale, this.stale ? this.staleSince : null);
    }
    outcome.needsSnapshot = this.#replay();
    outcome.changed = this.#changedSince(before);
    return outcome;
  }

  #changedSince(before) {
    const changed = [];
    for (const [facilityId, facility] of this.facilities) {
      const held = before.get(facilityId);
      before.delete(facilityId);
      if (held && isSame(held, facility)) this.facilities.set(facilityId, held);
      else changed.push(facility);
    }
    for (const gone of before.values()) changed.push({ ...gone, status: "removed", sessions: 0 });
    return changed;
  }

  #replay() {
    let needsSnapshot = false;
    const waiting = this.#heldBack.filter((message) => message.sequence > this.sequence);
    waiting.sort((one, other) => one.sequence - other.sequence);
    this.#heldBack = [];
    for (const message of waiting) {
      if (this.receive(message).needsSnapshot) needsSnapshot = true;
    }
    return needsSnapshot;
  }

  #holdBack(message) {
    // So many can only wait while snapshots fail; the next one that succeeds holds what these say.
    if (this.#heldBack.length >= MOST_HELD_BACK) this.#heldBack.shift();
    this.#heldBack.push(message);
  }

  #apply({ changes }, outcome) {
    for (const change of Array.isArray(changes) ? changes : []) {
      if (typeof change?.facilityId !== "string" || !Number.isSafeInteger(change.version)) continue;
      const held = this.facilities.get(change.facilityId);
      if (held && change.version <= held.version) continue;
      if (change.status === "removed") {
        if (!held) continue;
        this.facilities.delete(change.facilityId);
        outcome.changed.push({ ...held, status: "removed", sessions: 0 });
        continue;
      }
      if (!held) outcome.needsSnapshot = true; // its name is not in the message
      const isOnline = change.status === "online";
      const lastSeen = isOnline ? change.since : null; // a change does not tell; the next snapshot does
      const facility = this.#facility({ name: change.facilityId, countyId: "", ...held, ...change, lastSeen });
      this.facilities.set(facility.facilityId, facility);
      outcome.changed.push(facility);
    }
  }

  #facility({ facilityId, name, countyId, status, since, sessions, version, reason, lastSeen }) {
    return Object.freeze({
      facilityId,
      name: typeof name === "string" && name.trim() ? name : facilityId,
      countyId: String(countyId ?? ""),
      regionId: this.regionId,
      status: status === "online" ? "online" : "offline",
      since: timeOrNull(since),
      sessions: Number.isSafeInteger(sessions) ? sessions : 0,
      version: Number.isSafeInteger(version) ? version : 0,
      reason: typeof reason === "string" ? reason : null,
      lastSeen: timeOrNull(lastSeen),
    });
  }

  #setStale(stale, since) {
    const before = this.stale;
    this.stale = stale === true;
    this.staleSince = this.stale ? timeOrNull(since) : null;
    return before !== this.stale;
  }
}

function checked(snapshot) {
  const { sequence, facilities } = snapshot ?? {};
  const isFacility = (item) => typeof item?.facilityId === "string";
  if (!Number.isSafeInteger(sequence) || !Array.isArray(facilities) || !facilities.every(isFacility)) {
    throw new TypeError("This is not the snapshot of a region.");
  }
  return facilities;
}

function isSame(one, other) {
  return Object.keys(other).every((key) => one[key] === other[key]);
}

function timeOrNull(value) {
  return typeof value === "string" && !Number.isNaN(Date.parse(value)) ? value : null;
}
