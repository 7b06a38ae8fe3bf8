/**
 * Heartbeats and live facility status for a front-end.
 *
 *     const pulse = connect({ api: "https://example.net/api", getToken: () => myAccessToken() });
 *     pulse.on("facility", ({ name, status }) => console.log(name, status));
 *
 * No dependencies; docs/front-end.md explains every option and event.
 */

import { Api, PulseError, Tokens } from "./pulse/api.js";
import { Heartbeats } from "./pulse/heartbeats.js";
import { Live } from "./pulse/live.js";
import { Reachability } from "./pulse/reachability.js";

export { PulseError };

const DEFAULTS = { regions: true, details: false, heartbeat: true, facilityId: null, tabs: "shared", sessionId: null };
const STATUSES = ["available", "busy", "away"];
const ID = /^[A-Za-z0-9._-]{1,64}$/;
/** How long it is remembered that an agent went, so that an older message of another region does not bring it back. */
const GONE_FOR = 60_000;

const isId = (value) => typeof value === "string" && ID.test(value);
const isBoolean = (value) => typeof value === "boolean";
/** What each option may be, and how that is said. */
const CHECKS = {
  api: [(value) => typeof value === "string" && value !== "", "the API's address, ending in /api"],
  getToken: [(value) => typeof value === "function", "a function that returns a token"],
  regions: [(value) => isBoolean(value) || (Array.isArray(value) && value.every(isId)), "true, false or a list of ids"],
  details: [isBoolean, "true or false"],
  heartbeat: [isBoolean, "true or false"],
  facilityId: [(value) => value === null || isId(value), "a facility's id or null"],
  tabs: [(value) => ["shared", "separate"].includes(value), '"shared" or "separate"'],
  sessionId: [(value) => value === null || isId(value), `null or an id that matches ${ID.source}`],
};

/** Begins to send heartbeats and to follow regions; both can be left out. Returns a Pulse. */
export function connect(options) {
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined);
  const complete = { ...DEFAULTS, ...Object.fromEntries(given) };
  for (const [name, [isRight, what]] of Object.entries(CHECKS)) {
    if (!isRight(complete[name])) throw new TypeError(`connect: ${name} must be ${what}`);
  }
  const address = new URL(complete.api, document.baseURI).href.replace(/\/+$/, "");
  return new Pulse({ ...complete, address });
}

/** A running connection. Made by `connect`. */
class Pulse {
  #options;
  #listeners = new Map();
  #offset = 0;
  #tokens;
  #api;
  #heartbeats = null;
  #live = null;
  #reachability;
  #agents = new Map();
  #connection = { state: "connecting", retryIn: null, error: null, heartbeat: "off", heartbeatError: null };
  #page = new AbortController();
  #isClosed = false;

  constructor(options) {
    this.#options = options;
    this.#tokens = new Tokens(options.getToken, () => this.now());
    this.#api = new Api(options.address, this.#tokens);
    this.#reachability = new Reachability((stale, since) =>
      this.#emit("stale", {
        regionId: null,
        stale,
        since: stale ? new Date(since).toISOString() : null,
        source: "client",
      }),
    );
    // In the next turn, so that whoever called can listen first.
    queueMicrotask(() => this.#begin());
  }

  /** The regions that are followed, by id. */
  get regions() {
    return this.#live?.regions ?? new Map();
  }

  /** How the connection is: the last `connection` event. */
  get connection() {
    return { ...this.#connection };
  }

  /** Whether what is shown may be outdated, and who says so. */
  get stale() {
    const since = this.#reachability.staleSince;
    if (since !== null) return { stale: true, since: new Date(since).toISOString(), source: "client" };
    const regions = [...this.regions.values()].filter((region) => region.stale);
    const times = regions.map((region) => region.staleSince).filter(Boolean);
    return { stale: regions.length > 0, since: times.sort()[0] ?? null, source: regions.length ? "server" : null };
  }

  /** The id of this browser's session, null without heartbeats. */
  get sessionId() {
    return this.#heartbeats?.sessionId ?? null;
  }

  /** The server's time in milliseconds since 1970, as far as it is known; browsers' clocks may be wrong. */
  now() {
    return Date.now() + this.#offset;
  }

  /** A facility that is held, or null. */
  facility(facilityId) {
    for (const region of this.regions.values()) {
      const found = region.facilities.get(facilityId);
      if (found) return found;
    }
    return null;
  }

  /** Calls `listener` with each event of a type; returns a function that ends this. */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Calls the API as this user; resolves to the decoded answer, rejects with PulseError. */
  async request(path, options) {
    return (await this.#api.call(path, options)).body;
  }

  /** Reads all regions anew. */
  async refresh() {
    await this.#live?.refresh();
  }

  /** Says what this person does: available, busy or away. */
  setStatus(agentStatus) {
    if (!STATUSES.includes(agentStatus)) throw new TypeError(`setStatus: one of ${STATUSES.join(", ")}`);
    if (this.#isBeating) this.#heartbeats.command("setStatus", agentStatus);
    else this.#options.agentStatus = agentStatus; // told with the first heartbeat
  }

  /** Where the heartbeats count from now on; null: at all of the person's facilities. */
  setFacility(facilityId) {
    this.#options.facilityId = facilityId;
    if (this.#isBeating) this.#heartbeats.command("setFacility", facilityId);
    else this.#options.tellsFacility = true;
  }

  /** Begins a new session after this one was ended. */
  restart() {
    if (this.#isClosed || !this.#options.heartbeat) return;
    this.#heartbeats?.stop({ leaves: false });
    if (this.#options.sessionId === null) this.#heartbeats?.forget();
    this.#startHeartbeats();
  }

  /** Stops everything and says that this session leaves. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#page.abort();
    this.#heartbeats?.stop({ leaves: true });
    this.#live?.stop();
    this.#reachability.stop();
    this.#connected({ state: "closed", retryIn: null, error: null, heartbeat: "off", heartbeatError: null });
    this.#listeners.clear();
  }

  #begin() {
    if (this.#isClosed) return;
    const { regions, details, heartbeat } = this.#options;
    if (heartbeat) this.#startHeartbeats();
    if (regions === false) {
      this.#connected({ state: "off" });
      return;
    }
    this.#live = new Live(this.#api, { regions, details }, this.#liveHandlers(), () => this.now());
    this.#live.start();
    // A page that the browser keeps aside must not hold a connection; it comes back as it was left.
    const { signal } = this.#page;
    addEventListener("pagehide", () => this.#live.stop(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.#live.start(), { signal });
  }

  /** Whether there are heartbeats to command: not before they begin, nor between a session's end and `restart`. */
  get #isBeating() {
    return this.#heartbeats !== null && this.#connection.heartbeat !== "ended";
  }

  #startHeartbeats() {
    this.#heartbeats = new Heartbeats(this.#options, this.#tokens, (state) => this.#beat(state));
    this.#connected({ heartbeat: "starting", heartbeatError: null });
    this.#heartbeats.start();
  }

  #liveHandlers() {
    return {
      changed: (facilities) => facilities.forEach((facility) => this.#emit("facility", facility)),
      loaded: (region) => this.#emit("region", region),
      stale: ({ regionId, stale, staleSince }) =>
        this.#emit("stale", { regionId, stale, since: staleSince, source: "server" }),
      alert: ({ regionId, facilityId, state, since }) => this.#emit("alert", { regionId, facilityId, state, since }),
      agent: (message) => this.#agentChanged(message),
      sessionEnded: ({ sessionId, reason }) => this.#sessionEnded(sessionId, reason),
      state: (state, { retryIn, error }) => this.#connected({ state, retryIn, error }),
      worked: () => this.#reachability.worked("live"),
      failed: (error) => this.#callFailed("live", error),
    };
  }

  #beat(report) {
    switch (report.state) {
      case "ok": {
        const received = Date.parse(report.receivedAt);
        if (Number.isFinite(received)) this.#offset = received - Date.now();
        this.#reachability.interval = report.interval;
        if (this.#live) this.#live.interval = report.interval;
        this.#reachability.worked("heartbeat");
        return this.#connected({ heartbeat: report.leads ? "on" : "standby", heartbeatError: null });
      }
      case "failing":
        this.#callFailed("heartbeat", report);
        return this.#connected({ heartbeat: "failing", heartbeatError: new PulseError(report.message, report) });
      case "ended":
        this.#reachability.forget("heartbeat");
        return this.#sessionEnded(report.sessionId, "ended");
      case "standby":
      case "paused":
        this.#reachability.forget("heartbeat");
        // What an ended session's worker still says changes nothing.
        if (this.#connection.heartbeat === "ended") return;
        return this.#connected({ heartbeat: report.state, heartbeatError: null });
    }
  }

  #callFailed(kind, { status, code }) {
    // An answer that refuses this one call says that the server is there; that it takes nobody's token does not count.
    const isRefusal = status >= 400 && status < 500 && status !== 401 && status !== 429;
    if (code === "cancelled" || isRefusal) return;
    this.#reachability.failed(kind);
  }

  #agentChanged({ userId, agentStatus, since }) {
    if (typeof userId !== "string" || Number.isNaN(Date.parse(since))) return;
    // An agent of several regions is announced in each; messages may also overtake one another.
    if (Date.parse(this.#agents.get(userId)) >= Date.parse(since)) return;
    this.#agents.set(userId, since);
    if (agentStatus === "offline") {
      setTimeout(() => this.#agents.get(userId) === since && this.#agents.delete(userId), GONE_FOR);
    }
    this.#emit("agent", { userId, agentStatus, since });
  }

  #sessionEnded(sessionId, reason) {
    const isOwn = sessionId === this.sessionId;
    if (isOwn && reason !== "ended") return; // this browser beats again by itself
    if (isOwn) {
      if (this.#connection.heartbeat === "ended") return; // told before, by the other of message and answer
      this.#heartbeats.forget();
      this.#heartbeats.stop({ leaves: false });
      this.#connected({ heartbeat: "ended", heartbeatError: null });
    }
    this.#emit("sessionEnded", { sessionId, reason, isOwn });
  }

  #connected(change) {
    const before = this.#connection;
    this.#connection = { ...before, ...change };
    const isSame = Object.keys(before).every((key) => before[key] === this.#connection[key]);
    if (!isSame) this.#emit("connection", this.connection);
  }

  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        // A listener's fault must not stop the others, nor the connection; the application sees it as its own.
        reportError(error);
      }
    }
  }
}
