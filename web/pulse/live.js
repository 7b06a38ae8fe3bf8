/** Regions kept current: negotiation, the socket, snapshots, and what to do when a message is missing. */

import { PulseError } from "./api.js";
import { Region } from "./region.js";
import { backoff } from "./retry.js";
import { Socket } from "./socket.js";

/** A client that missed a message waits up to this long before it reads, so that not all of a region ask at once. */
const GAP_DELAY = 2_000;
/** The server may answer with a snapshot that is this old: older than the connection, which has its own beginning. */
const SNAPSHOT_AGE = 1_000;
const RENEW_BEFORE = 300_000;
const RENEW_UNKNOWN = 1_800_000;
const DEFAULT_INTERVAL = 30_000;

/**
 * Holds regions and reports: `changed(facilities)`, `stale(region)`, `alert(message)`, `agent(message)`,
 * `sessionEnded(message)`, `loaded(region)`, `state(state, details)`, `worked()` and `failed(error)` after calls.
 */
export class Live {
  #api;
  #wanted;
  #details;
  #on;
  #now;
  #socket = null;
  #sockets = new Set();
  #isOpen = false;
  #failures = 0;
  #timers = new Map();
  #readFailures = new Map();
  #reading = new Set();
  #stopped = new AbortController();

  /** `wanted`: ids of regions, or true for all that the user may see; `details`: re-reads what messages do not tell. */
  constructor(api, { regions, details }, handlers, now) {
    this.#api = api;
    this.#wanted = regions === true ? null : regions;
    this.#details = details;
    this.#on = handlers;
    this.#now = now;
    this.regions = new Map();
    this.interval = DEFAULT_INTERVAL;
  }

  start() {
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    addEventListener("online", () => this.wake(1_000), { signal });
    addEventListener("offline", () => this.#tell(), { signal });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.wake(), {
      signal,
    });
    this.#connect();
    this.#poll();
  }

  stop() {
    this.#stopped.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
    this.#socket = null;
    this.#isOpen = false;
  }

  /** Looks at once whether the connection holds, and reads what may have been missed. */
  wake(within = 300) {
    if (this.#stopped.signal.aborted) return;
    if (this.#isOpen) this.#socket.probe();
    else this.#after("connect", Math.random() * within, () => this.#connect());
    this.#after("poll", Math.random() * within, () => this.#poll());
  }

  /** Reads every region anew; resolves when that is done, whether it worked or not. */
  async refresh() {
    await Promise.all([...this.regions.values()].map((region) => this.#read(region)));
  }

  get isLive() {
    return this.#isOpen && [...this.regions.values()].every((region) => region.isLoaded);
  }

  // -- the socket

  async #connect() {
    const { signal } = this.#stopped;
    this.#cancel("connect");
    this.#tell();
    let answer;
    try {
      answer = await this.#call("/negotiate", {
        method: "POST",
        body: this.#wanted === null ? {} : { regions: this.#wanted },
      });
    } catch (error) {
      return signal.aborted || this.#again(error);
    }
    if (signal.aborted) return;
    const { url, regions, expiresAt } = answer.body;
    if (typeof url !== "string" || !Array.isArray(regions)) {
      return this.#again(new PulseError("The answer of /negotiate cannot be read.", { code: "unreadable-answer" }));
    }
    this.#keepOnly(regions);
    let socket;
    try {
      socket = new Socket(url, {
        opened: () => this.#opened(socket, expiresAt),
        heard: (message) => this.#hear(message),
        lost: () => this.#lost(socket),
      });
    } catch (error) {
      return this.#again(new PulseError("The live connection's address is not valid.", { detail: String(error) }));
    }
    // One that is open goes on until the new one has taken over: what both deliver is counted once.
    if (!this.#isOpen) this.#socket = socket;
    this.#sockets.add(socket);
  }

  #opened(socket, expiresAt) {
    if (this.#socket !== socket) {
      this.#socket?.close();
      this.#sockets.delete(this.#socket);
    }
    this.#socket = socket;
    this.#isOpen = true;
    this.#failures = 0;
    for (const region of this.regions.values()) this.#read(region);
    // A change between that snapshot and our joining would be in neither; unchanged, this costs a 304.
    this.#after("settle", SNAPSHOT_AGE + 200 + Math.random() * GAP_DELAY, () => this.refresh());
    const left = Date.parse(expiresAt) - this.#now();
    // What has lapsed although it was just given was judged by a clock that is wrong.
    const renewIn = left > 0 ? Math.max(left - RENEW_BEFORE * (1 + Math.random()), left / 2, 10_000) : RENEW_UNKNOWN;
    this.#after("renew", renewIn, () => this.#connect());
    this.#tell();
  }

  #lost(socket) {
    this.#sockets.delete(socket);
    const isReplacement = this.#socket !== socket;
    if (isReplacement && !this.#isOpen) return; // another one is on its way
    if (!isReplacement) {
      this.#socket = null;
      this.#isOpen = false;
    }
    this.#again(new PulseError("The live connection was lost."));
  }

  #again(error) {
    this.#failures += 1;
    // Twice the usual: when the service restarts, every browser of every region comes back.
    const delay = backoff(this.#failures + 1, { retryAfter: error.retryAfter ?? 0 });
    if (this.#isOpen) return this.#after("renew", delay, () => this.#connect());
    this.#after("connect", delay, () => this.#connect());
    this.#tell({ retryIn: delay, error });
  }

  #keepOnly(regionIds) {
    for (const [regionId, region] of this.regions) {
      if (regionIds.includes(regionId)) continue;
      this.regions.delete(regionId);
      this.#cancel(regionId);
      this.#on.changed([...region.facilities.values()].map((each) => ({ ...each, status: "removed", sessions: 0 })));
    }
    for (const regionId of regionIds) {
      if (typeof regionId === "string" && !this.regions.has(regionId)) {
        this.regions.set(regionId, new Region(regionId));
      }
    }
  }

  // -- messages and snapshots

  #hear(message) {
    if (message.type === "agent.status") return this.#on.agent(message);
    if (message.type === "session.ended") return this.#on.sessionEnded(message);
    const region = this.regions.get(message.regionId);
    if (region) this.#took(region, region.receive(message));
  }

  #took(region, { changed, staleChanged, alert, needsSnapshot }) {
    if (changed.length) this.#on.changed(changed);
    if (staleChanged) this.#on.stale(region);
    if (alert) this.#on.alert(alert);
    if (needsSnapshot && !this.#timers.has(region.regionId)) {
      this.#after(region.regionId, Math.random() * GAP_DELAY, () => this.#read(region));
    }
  }

  async #read(region) {
    const { signal } = this.#stopped;
    const { regionId } = region;
    this.#cancel(regionId);
    if (this.#reading.has(regionId)) return this.#after(regionId, GAP_DELAY, () => this.#read(region));
    this.#reading.add(regionId);
    try {
      const { body } = await this.#call(`/regions/${encodeURIComponent(regionId)}/facilities`);
      if (signal.aborted || this.regions.get(regionId) !== region) return;
      const outcome = region.load(body);
      this.#readFailures.delete(regionId);
      this.#took(region, outcome);
      if (outcome.isOlder) this.#after(regionId, 1_000 + Math.random() * GAP_DELAY, () => this.#read(region));
      this.#on.loaded(region);
      this.#tell();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TypeError) this.#on.failed(new PulseError("A snapshot cannot be read.", { status: 200 }));
      const failures = (this.#readFailures.get(regionId) ?? 0) + 1;
      this.#readFailures.set(regionId, failures);
      const delay = backoff(failures, { retryAfter: error.retryAfter ?? 0 });
      this.#after(regionId, delay, () => this.#read(region));
      this.#tell({ retryIn: delay, error });
    } finally {
      this.#reading.delete(regionId);
    }
  }

  /** Once an interval, while somebody looks: whether the server still answers, and what messages do not tell. */
  async #poll() {
    this.#after("poll", this.interval * (0.9 + 0.2 * Math.random()), () => this.#poll());
    if (document.visibilityState === "hidden") return;
    try {
      const { body } = await this.#call("/regions");
      for (const { regionId, name } of Array.isArray(body.regions) ? body.regions : []) {
        const region = this.regions.get(regionId);
        if (region && typeof name === "string" && region.name !== name) {
          region.name = name;
          this.#on.loaded(region);
        }
      }
      this.#followNewRegions(body.regions);
    } catch {
      return; // reported by #call
    }
    const isBlind = !this.#isOpen;
    for (const region of this.regions.values()) {
      if (region.isLoaded && (this.#details || isBlind)) this.#read(region);
    }
  }

  #followNewRegions(regions) {
    if (this.#wanted !== null || !this.#isOpen || !Array.isArray(regions)) return;
    const isOther = regions.length !== this.regions.size || regions.some(({ regionId }) => !this.regions.has(regionId));
    if (isOther) this.#after("connect", Math.random() * GAP_DELAY, () => this.#connect());
  }

  async #call(path, options) {
    const { signal } = this.#stopped;
    try {
      const answer = await this.#api.call(path, { ...options, signal });
      this.#on.worked();
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#on.failed(error);
      throw error;
    }
  }

  // -- small things

  #tell(details = {}) {
    if (this.#stopped.signal.aborted) return;
    let state = "connecting";
    if (this.isLive) state = "live";
    else if (!navigator.onLine) state = "offline";
    else if (this.#failures || details.error) state = "reconnecting";
    this.#on.state(state, { retryIn: details.retryIn ?? null, error: details.error ?? null });
  }

  #after(name, milliseconds, then) {
    this.#cancel(name);
    if (this.#stopped.signal.aborted) return;
    this.#timers.set(
      name,
      setTimeout(() => {
        this.#timers.delete(name);
        then();
      }, milliseconds),
    );
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
