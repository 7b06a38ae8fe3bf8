/** What the pages show of all regions: facilities in order, counts, and the latest changes. */

import { Counties } from "./counties.js";
import { statusOf } from "./format.js";

const PAUSE = 100;
const KEPT_CHANGES = 30;
/** What the API's history does not have yet: it is complete up to the last minute. */
const KEPT_STATES = 20;
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Follows a Pulse; `onchange(listener)` is called at most ten times a second, however much changes. */
export class World {
  #listeners = new Set();
  #timer = null;
  #entries = new Map();
  #order = null;
  #counties;
  #stop;

  constructor(pulse) {
    this.pulse = pulse;
    this.#counties = new Counties(pulse, () => this.#renamed());
    /** The latest changes, newest first: `{facility, at}`. */
    this.changes = [];
    this.isLoaded = false;
    this.#stop = [
      pulse.on("facility", (facility) => this.#took(facility)),
      pulse.on("region", (region) => {
        if (region.isLoaded) this.#counties.follow(region);
        this.isLoaded ||= [...pulse.regions.values()].every((region) => region.isLoaded);
        this.#soon();
      }),
    ];
  }

  destroy() {
    clearTimeout(this.#timer);
    this.#stop.forEach((stop) => stop());
  }

  onchange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Every facility as `{facility, status, text}`, by region, county and name; `text` is what is searched. */
  get entries() {
    this.#order ??= [...this.#entries.values()].sort(
      ({ facility: one }, { facility: other }) =>
        byName.compare(this.regionName(one.regionId), this.regionName(other.regionId)) ||
        byName.compare(one.regionId, other.regionId) ||
        byName.compare(this.countyName(one.countyId), this.countyName(other.countyId)) ||
        byName.compare(one.countyId, other.countyId) ||
        byName.compare(one.name, other.name) ||
        byName.compare(one.facilityId, other.facilityId),
    );
    return this.#order;
  }

  entry(facilityId) {
    return this.#entries.get(facilityId) ?? null;
  }

  regionName(regionId) {
    return this.pulse.regions.get(regionId)?.name ?? regionId;
  }

  countyName(countyId) {
    return this.#counties.name(countyId);
  }

  /** Regions with how many of their facilities are online: `{regionId, name, isLoaded, online, total}`. */
  get regions() {
    const counts = new Map();
    for (const { facility } of this.#entries.values()) {
      const count = counts.get(facility.regionId) ?? { online: 0, total: 0 };
      counts.set(facility.regionId, count);
      count.total += 1;
      if (facility.status === "online") count.online += 1;
    }
    return [...this.pulse.regions.values()]
      .map(({ regionId, name, isLoaded }) => ({
        regionId,
        name,
        isLoaded,
        ...(counts.get(regionId) ?? { online: 0, total: 0 }),
      }))
      .sort((one, other) => byName.compare(one.name, other.name));
  }

  #took(facility) {
    const { facilityId } = facility;
    const known = this.#entries.get(facilityId);
    if (facility.status === "removed") {
      // One that has moved is announced as removed in its old region, maybe after the new one has told of it.
      if (known?.facility.regionId === facility.regionId) this.#entries.delete(facilityId);
      this.#order = null;
    } else {
      const { facility: held } = known ?? {};
      const isPlaced = held && held.name === facility.name && held.countyId === facility.countyId;
      if (!isPlaced || held.regionId !== facility.regionId) this.#order = null;
      const entry = known ?? {};
      if (held && held.version !== facility.version && held.status !== facility.status) {
        this.changes.unshift({ facility, key: `${facilityId} ${facility.version}` });
        this.changes.length = Math.min(this.changes.length, KEPT_CHANGES);
        entry.changedAt = performance.now();
        entry.seen = [...(entry.seen ?? []), held].slice(-KEPT_STATES);
      }
      entry.facility = facility;
      entry.status = statusOf(facility);
      entry.text = this.#textOf(facility);
      this.#entries.set(facilityId, entry);
    }
    this.#soon();
  }

  #textOf({ facilityId, name, countyId }) {
    return `${name}\n${facilityId}\n${countyId}\n${this.countyName(countyId)}`.toLocaleLowerCase();
  }

  #renamed() {
    for (const entry of this.#entries.values()) entry.text = this.#textOf(entry.facility);
    this.#order = null;
    this.#soon();
  }

  #soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#listeners.forEach((listener) => listener());
    }, PAUSE);
  }
}
