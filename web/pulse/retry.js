/** When to try again: exponential backoff with full jitter, so that a crowd does not come back in step. */

export const SHORTEST = 1_000;
export const LONGEST = 30_000;

/**
 * Milliseconds to the next try after `failures` in a row (from 1): anything from 0 to twice as much each time, at most
 * `longest`. What the server asked for (`retryAfter`, milliseconds) comes on top.
 */
export function backoff(failures, { longest = LONGEST, retryAfter = 0, random = Math.random } = {}) {
  const ceiling = Math.min(longest, SHORTEST * 2 ** Math.min(failures, 16));
  return retryAfter + random() * ceiling;
}

/** Milliseconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3), at most ten minutes; 0 without one. */
export function retryAfterOf(headers, now = Date.now()) {
  const text = headers.get("Retry-After")?.trim();
  if (!text) return 0;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(milliseconds) ? Math.min(Math.max(milliseconds, 0), 600_000) : 0;
}

/** A delay that `signal` cuts short; resolves either way. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}
