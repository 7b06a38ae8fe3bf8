/** Calls to the API: the token on each, renewed in time, and problems as errors. */

import { retryAfterOf } from "./retry.js";

const TIMEOUT = 15_000;

/** An answer that is not what was asked for. `status` 0: there was none (no network, or it took too long). */
export class PulseError extends Error {
  constructor(message, { status = 0, code = "no-answer", detail = "", retryAfter = 0 } = {}) {
    super(message);
    this.name = "PulseError";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** The application's tokens: asked for when there is none, when one is about to lapse, and when one was refused. */
export class Tokens {
  #getToken;
  #asking = null;
  #clock;

  /** `clock` gives the server's time in milliseconds as far as it is known. */
  constructor(getToken, clock = Date.now) {
    this.#getToken = getToken;
    this.#clock = clock;
    this.current = null;
    this.renewAt = Infinity;
  }

  /** Resolves to a token; `refused` is one that the server would not take. Rejects as the application's function does. */
  async get({ refused = null } = {}) {
    const isUsable = this.current && this.current !== refused && this.#clock() < this.renewAt;
    if (isUsable) return this.current;
    this.#asking ??= this.#ask({ fresh: this.current !== null }).finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #ask(reason) {
    let token;
    try {
      token = await inTime(this.#getToken(reason));
    } catch (error) {
      throw new PulseError("No access token: " + (error?.message ?? error), { code: "no-token" });
    }
    if (typeof token !== "string" || !token) throw new PulseError("There is no access token.", { code: "no-token" });
    // The same token again although a fresh one was asked for, or one that is due already, by a clock that is fast: it
    // is used until it is refused.
    const due = renewalTime(token);
    this.renewAt = token === this.current || due <= this.#clock() ? Infinity : due;
    this.current = token;
    return token;
  }
}

/** What a promise of the application's resolves to; rejects when that takes too long, so that others need not wait. */
async function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`getToken did not answer within ${TIMEOUT / 1000} s`)), TIMEOUT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** When to renew a JWT, in milliseconds since 1970: a minute before it lapses, or a fifth of its life if that is less. */
export function renewalTime(token) {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== "number") return Infinity;
  const life = typeof iat === "number" && iat < exp ? exp - iat : 300;
  return (exp - Math.min(60, life / 5)) * 1000;
}

/** The claims of a JWT, unverified: that is the server's business. An empty object for any other token. */
export function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims !== null && typeof claims === "object" ? claims : {};
  } catch {
    return {};
  }
}

/** The API at one address. */
export class Api {
  #tokens;

  constructor(address, tokens) {
    this.address = address.replace(/\/+$/, "");
    this.#tokens = tokens;
  }

  /**
   * Resolves to `{status, headers, body}` of a 2xx answer, or of 304; rejects with PulseError.
   * A refused token is renewed once.
   */
  async call(path, { method = "GET", body, headers = {}, signal, timeout = TIMEOUT } = {}) {
    let token = await this.#tokens.get();
    let answer = await this.#send(path, { method, body, headers, signal, timeout, token });
    if (answer.status === 401) {
      token = await this.#tokens.get({ refused: token });
      answer = await this.#send(path, { method, body, headers, signal, timeout, token });
    }
    return read(answer);
  }

  async #send(path, { method, body, headers, signal, timeout, token }) {
    const limit = AbortSignal.timeout(timeout);
    try {
      return await fetch(this.address + path, {
        method,
        headers: {
          ...headers,
          Authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        credentials: "omit",
      });
    } catch (error) {
      throw new PulseError(limit.aborted ? "The server did not answer in time." : "The server cannot be reached.", {
        code: signal?.aborted ? "cancelled" : "no-answer",
        detail: String(error?.message ?? error),
      });
    }
  }
}

/** The decoded answer of the API; throws PulseError for a problem, or for what is not an answer of this API. */
export async function read(response) {
  const { status, headers } = response;
  if (status === 304 || status === 204) return { status, headers, body: null };
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Whoever answered is not the API: a proxy, a sign-in page of a network.
  }
  if (!response.ok) {
    throw new PulseError(textOf(body?.title) ?? `The server answered ${status}.`, {
      status,
      code: textOf(body?.code) ?? `http-${status}`,
      detail: textOf(body?.detail) ?? "",
      retryAfter: retryAfterOf(headers),
    });
  }
  if (body === null || typeof body !== "object") {
    throw new PulseError("The server's answer cannot be read.", { status, code: "unreadable-answer" });
  }
  return { status, headers, body };
}

function textOf(value) {
  return typeof value === "string" && value ? value : null;
}
