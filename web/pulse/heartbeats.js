/** The page's side of the heartbeats: the worker, the session's id, and the page's life from hiding to closing. */

import { Beats } from "./beats.js";

/** Sends a session's heartbeats and reports how that goes. `options` are those of `connect`, complete. */
export class Heartbeats {
  #options;
  #tokens;
  #report;
  #worker = null;
  #beats = null;
  #session;
  #isReady = false;
  #isBegun = false;
  #isHeld = false;
  #hasBeaten = false;
  #leads = false;
  #listening = new AbortController();

  constructor(options, tokens, report) {
    this.#options = options;
    this.#tokens = tokens;
    this.#report = report;
    this.#session = new SessionId(options);
  }

  /** The id of this tab's session. */
  get sessionId() {
    return this.#session.value;
  }

  start() {
    this.#listen();
    try {
      this.#worker = startWorker();
    } catch {
      return this.#beatHere();
    }
    // A page whose policy refuses workers is told so by an event only.
    this.#worker.onerror = () => {
      this.#worker?.terminate();
      this.#worker = null;
      this.#beatHere();
    };
    this.#worker.onmessage = ({ data }) => this.#hear(data);
  }

  /** Runs a method of Beats, wherever they are; before they exist it is kept for their beginning. */
  command(name, ...values) {
    if (!this.#isBegun) return this.#prepare(name, ...values);
    if (this.#worker) this.#worker.postMessage({ type: "command", name, values });
    else this.#beats?.[name](...values);
  }

  stop({ leaves }) {
    this.#listening.abort();
    if (leaves) this.#leave();
    this.command("pause");
    // The worker gives its lock up before it ends.
    const worker = this.#worker;
    if (worker) setTimeout(() => worker.terminate(), 100);
  }

  /** Forgets the session, so that the next `connect` begins another one. */
  forget() {
    this.#session.forget();
  }

  #prepare(name, value) {
    if (name === "setStatus") this.#options.agentStatus = value;
    if (name === "setFacility") Object.assign(this.#options, { facilityId: value, tellsFacility: true });
    if (name === "pause") this.#isHeld = true;
    if (name === "start") {
      this.#isHeld = false;
      if (this.#isReady) this.#begin();
    }
  }

  #begin() {
    this.#isBegun = true;
    this.#worker.postMessage({ type: "begin", options: this.#beatOptions() });
  }

  #beatOptions() {
    const { address, facilityId, tellsFacility = false, agentStatus = null, tabs } = this.#options;
    // Said once: later ones come as commands.
    Object.assign(this.#options, { agentStatus: null, tellsFacility: false });
    return {
      agentStatus,
      address,
      sessionId: this.sessionId,
      facilityId,
      tellsFacility,
      isShared: tabs === "shared",
      lock: this.#session.isOurs ? `facility-pulse ${address} ${this.sessionId}` : null,
    };
  }

  #beatHere() {
    this.#isBegun = true;
    const token = (reason) => this.#tokens.get(reason);
    this.#beats = new Beats({ ...this.#beatOptions(), token, report: (state) => this.#heard(state) });
    this.#beats.start();
  }

  async #hear(message) {
    if (message.type === "ready") {
      this.#isReady = true;
      if (!this.#isHeld) this.#begin();
    } else if (message.type === "state") {
      this.#heard(message.state);
    } else if (message.type === "token") {
      const { question, refused } = message;
      try {
        const token = await this.#tokens.get({ refused });
        this.#worker?.postMessage({ type: "token", question, token });
      } catch (error) {
        this.#worker?.postMessage({ type: "token", question, message: error.message });
      }
    }
  }

  #heard(state) {
    if (state.state === "session") this.#session.replace(state.sessionId);
    if (state.state === "ok") this.#hasBeaten = true;
    if (state.state === "standby") this.#leads = false;
    if ("leads" in state) this.#leads = state.leads;
    if (state.state === "ended") this.forget();
    this.#report(state);
  }

  #listen() {
    const { signal } = this.#listening;
    const wake = () => this.command("wake");
    addEventListener("pagehide", () => this.#hide(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.command("start"), { signal });
    addEventListener("online", wake, { signal });
    addEventListener("focus", wake, { signal });
    document.addEventListener("resume", wake, { signal });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && wake(), { signal });
  }

  #hide() {
    this.#leave();
    this.command("pause");
  }

  /** Says that this session leaves; the browser sends it even when the page is gone. */
  #leave() {
    if (!this.#leads || !this.#hasBeaten || !this.#tokens.current) return;
    fetch(`${this.#options.address}/heartbeat`, {
      method: "POST",
      keepalive: true,
      headers: { Authorization: `Bearer ${this.#tokens.current}`, "Content-Type": "application/json" },
      body: JSON.stringify({ sessionId: this.sessionId, leaving: true }),
      credentials: "omit",
    }).catch(() => {
      // Nobody is left to be told; the session then ends at its deadline.
    });
  }
}

/** The id of a session: one for all tabs of the browser, one for each tab, or the application's own. */
class SessionId {
  #storage = null;
  #key;

  constructor({ sessionId, tabs, address }) {
    this.isOurs = !sessionId;
    this.#key = `facility-pulse session ${address}`;
    if (this.isOurs) this.#storage = storageOf(tabs === "shared" ? "localStorage" : "sessionStorage");
    this.value = sessionId ?? this.#stored() ?? this.#keep(crypto.randomUUID());
  }

  replace(value) {
    this.value = value;
    this.#keep(value);
  }

  forget() {
    // Another tab may have begun a new one since.
    if (this.#stored() === this.value) this.#storage.removeItem(this.#key);
  }

  #stored() {
    const value = this.#storage?.getItem(this.#key);
    return value && /^[A-Za-z0-9._-]{1,64}$/.test(value) ? value : null;
  }

  #keep(value) {
    try {
      this.#storage?.setItem(this.#key, value);
    } catch {
      // A full storage costs only that a reload begins a new session.
    }
    return value;
  }
}

function storageOf(name) {
  try {
    return globalThis[name];
  } catch {
    return null; // blocked by the person's settings
  }
}

function startWorker() {
  const address = new URL("./worker.js", import.meta.url);
  if (address.origin === location.origin) return new Worker(address, { type: "module", name: "facility-pulse" });
  // A worker must come from the page's origin; one of two lines may fetch the rest from where this module came from.
  const source = new Blob([`import ${JSON.stringify(address.href)};`], { type: "text/javascript" });
  const url = URL.createObjectURL(source);
  const revoke = () => URL.revokeObjectURL(url);
  try {
    const worker = new Worker(url, { type: "module", name: "facility-pulse" });
    // Either it runs by then, or it never will.
    for (const event of ["message", "error"]) worker.addEventListener(event, revoke, { once: true });
    return worker;
  } catch (error) {
    revoke();
    throw error;
  }
}
