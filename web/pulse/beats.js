/** The heartbeats of one session. Runs in a Web Worker, whose timers go on in a hidden tab, or in the page itself. */

import { PulseError, read } from "./api.js";
import { backoff } from "./retry.js";

const JITTER = 0.1;
const SECOND_BEAT = 1_500;
const CLAIM_WAIT = 1_500;
const LONGEST_WAIT = 10_000;
/** Problems that trying again soon does not solve; they are tried again at the usual pace. */
const LASTING = new Set([400, 403, 404, 405, 413, 415, 422]);

/**
 * Sends heartbeats while it leads: of several tabs with one session only the one that holds the session's lock does.
 *
 * `options`: `address`, `sessionId`, `facilityId`, `tellsFacility` (other tabs do not know it yet), `agentStatus` (said
 * with the first heartbeat), `lock` (name, null: none), `isShared` (a lock that is taken is waited for; otherwise a new
 * session is begun), `token({refused})`, `report(state)`.
 * What it reports: `{state: "ok"|"failing"|"standby"|"paused"|"ended", …}` and `{state: "session", sessionId}`.
 */
export class Beats {
  #options;
  #timer = null;
  #sending = null;
  #again = false;
  #failures = 0;
  #interval = 30_000;
  #ttl = 90_000;
  #acceptedAt = -Infinity;
  #acceptedOn = -Infinity;
  #agentStatus = null;
  #isLeading = false;
  #isRunning = false;
  #isEnded = false;
  #release = null;
  #claim = null;
  #channel = null;

  constructor(options) {
    this.#options = { ...options };
    this.#agentStatus = options.agentStatus ?? null;
  }

  /** Begins, or goes on after `pause`. */
  start() {
    if (this.#isRunning || this.#isEnded) return;
    this.#isRunning = true;
    this.#listen();
    this.#lead();
  }

  /** Sends nothing more and lets another tab lead. */
  pause() {
    if (!this.#isRunning) return;
    this.#stop();
    this.#report({ state: "paused" });
  }

  /** Beats now if one is overdue: after sleep, or when the network is back. */
  wake() {
    if (!this.#isLeading) return;
    // One clock stands still while the computer sleeps, the other may be set back.
    const quiet = Math.max(performance.now() - this.#acceptedAt, Date.now() - this.#acceptedOn);
    if (this.#failures || quiet > this.#interval) this.#schedule(Math.random() * 300);
  }

  /** Says what the agent does; repeated until it is accepted, also by a tab that does not lead. */
  setStatus(agentStatus) {
    this.#agentStatus = agentStatus;
    this.#beat();
  }

  /** Where the next heartbeats count; null: at all facilities of the user. Holds for every tab of the session. */
  setFacility(facilityId) {
    this.#options.facilityId = facilityId;
    this.#options.tellsFacility = true;
    this.#tell();
    if (this.#isLeading || !this.#channel) this.#beat();
  }

  /** Takes over what other tabs of the session are told; the one that leads says it. */
  #listen() {
    const { lock, isShared } = this.#options;
    if (!lock || !isShared || !globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(lock);
    this.#channel.onmessage = ({ data }) => {
      this.#options.facilityId = data.facilityId;
      if (this.#isLeading) this.#beat();
    };
    this.#tell();
  }

  /** Tells other tabs of a facility that was set here; one set during a pause, when the pause is over. */
  #tell() {
    const { facilityId, tellsFacility } = this.#options;
    if (!tellsFacility || !this.#channel) return;
    this.#channel.postMessage({ facilityId });
    this.#options.tellsFacility = false;
  }

  async #lead() {
    const { lock, isShared } = this.#options;
    if (!lock || !globalThis.navigator?.locks) return this.#took({ isTakeOver: false });
    const claim = (this.#claim = new AbortController());
    const hold = () => new Promise((resolve) => (this.#release = resolve));
    const take = (isTakeOver) => (held) => {
      if (!held || claim.signal.aborted) return false;
      this.#took({ isTakeOver });
      return hold().then(() => true);
    };
    try {
      if (await navigator.locks.request(lock, { ifAvailable: true }, take(false))) return;
      if (claim.signal.aborted) return;
      if (isShared) this.#report({ state: "standby" });
      if (this.#agentStatus) this.#beat();
      const waiting = isShared ? claim.signal : AbortSignal.any([claim.signal, AbortSignal.timeout(CLAIM_WAIT)]);
      await navigator.locks.request(lock, { signal: waiting }, take(isShared));
    } catch (error) {
      if (claim.signal.aborted) return;
      // Locks are refused here (a sandboxed frame), or this tab is a copy of another one: a session of its own.
      if (error?.name === "TimeoutError") this.#renewSession();
      this.#took({ isTakeOver: false });
    }
  }

  #renewSession() {
    this.#options.sessionId = crypto.randomUUID();
    this.#report({ state: "session", sessionId: this.#options.sessionId });
  }

  #took({ isTakeOver }) {
    if (!this.#isRunning) return;
    this.#isLeading = true;
    this.#beat().then(() => {
      // The tab that led before has said that it leaves; in case that arrives late, it is contradicted twice.
      if (isTakeOver && this.#isLeading) this.#schedule(SECOND_BEAT);
    });
  }

  #stop() {
    this.#isRunning = this.#isLeading = this.#again = false;
    clearTimeout(this.#timer);
    this.#sending?.abort();
    this.#channel?.close();
    this.#channel = null;
    this.#claim?.abort();
    this.#release?.();
    this.#release = null;
  }

  #schedule(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#beat(), milliseconds);
  }

  async #beat() {
    if (!this.#isRunning) return;
    if (this.#sending) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    const sending = (this.#sending = new AbortController());
    let next;
    try {
      next = await this.#send(sending.signal);
    } catch (error) {
      next = this.#failed(error, sending.signal);
    } finally {
      this.#sending = null;
    }
    if (!this.#isRunning) return;
    // Also after `pause` and `start` while this one was under way, and given up.
    if (this.#again) {
      this.#again = false;
      next = 0;
    }
    if (next === null) return;
    if (this.#isLeading || this.#agentStatus) this.#schedule(next);
  }

  async #send(signal) {
    const { sessionId, facilityId } = this.#options;
    const agentStatus = this.#agentStatus;
    const body = JSON.stringify({
      sessionId,
      ...(facilityId ? { facilityId } : {}),
      ...(agentStatus ? { agentStatus } : {}),
    });
    let token = await this.#options.token({ refused: null });
    let response = await this.#post(body, token, signal);
    if (response.status === 401) {
      token = await this.#options.token({ refused: token });
      response = await this.#post(body, token, signal);
    }
    const answer = await read(response);
    if (answer.status !== 202 || answer.body.sessionId !== sessionId) {
      throw new PulseError("The answer to a heartbeat cannot be read.", { code: "unreadable-answer" });
    }
    if (this.#agentStatus === agentStatus) this.#agentStatus = null;
    return this.#accepted(answer.body);
  }

  async #post(body, token, signal) {
    const limit = AbortSignal.timeout(Math.min(LONGEST_WAIT, Math.max(2_000, this.#ttl / 3)));
    try {
      return await fetch(`${this.#options.address}/heartbeat`, {
        method: "POST",
        headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
        body,
        signal: AbortSignal.any([signal, limit]),
        credentials: "omit",
      });
    } catch (error) {
      throw new PulseError("The server cannot be reached.", { detail: String(error?.message ?? error) });
    }
  }

  #accepted({ intervalSeconds, ttlSeconds, receivedAt, expiresAt }) {
    if (intervalSeconds >= 1) this.#interval = intervalSeconds * 1000;
    if (ttlSeconds >= 1) this.#ttl = ttlSeconds * 1000;
    this.#acceptedAt = performance.now();
    this.#acceptedOn = Date.now();
    this.#failures = 0;
    this.#report({
      state: "ok",
      leads: this.#isLeading,
      receivedAt,
      expiresAt,
      interval: this.#interval,
      ttl: this.#ttl,
    });
    return this.#interval * (1 + JITTER * (2 * Math.random() - 1));
  }

  /** Milliseconds to the next try, null if there is none. */
  #failed(error, signal) {
    if (signal.aborted) return null;
    const { status = 0, code = "no-answer", message, detail = "", retryAfter = 0 } = error;
    if (status === 410) {
      this.#isEnded = true;
      this.#stop();
      this.#report({ state: "ended", sessionId: this.#options.sessionId });
      return null;
    }
    this.#failures += 1;
    const isLasting = LASTING.has(status);
    const next = isLasting ? this.#interval : backoff(this.#failures, { longest: this.#interval, retryAfter });
    const leads = this.#isLeading;
    this.#report({ state: "failing", leads, status, code, message, detail, retryIn: next, failures: this.#failures });
    return next;
  }

  #report(state) {
    this.#options.report(state);
  }
}
