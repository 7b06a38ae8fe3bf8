/** Heartbeats and live facility status for a front-end. docs/front-end.md explains every option and event. */

export type AgentStatus = "available" | "busy" | "away";

export interface ConnectOptions {
  /** The API's address, ending in `/api`; relative ones count from the page. */
  api: string;
  /** Returns an access token, within 15 s. `fresh` is true when the one returned before is about to lapse or was refused. */
  getToken: (reason: { fresh: boolean }) => string | Promise<string>;
  /** Regions to follow: some, all of the person's (true, the default), or none (false). */
  regions?: string[] | boolean;
  /** Also keeps `sessions` and `lastSeen` current, which messages do not tell: one read per region and interval. */
  details?: boolean;
  /** Whether this browser sends heartbeats (true). */
  heartbeat?: boolean;
  /** Counts the heartbeats for this facility alone; null (the default): for all of the person's. */
  facilityId?: string | null;
  /** One session for all tabs of the browser, of which one beats (`shared`, the default), or one for each. */
  tabs?: "shared" | "separate";
  /** The application's own session id, matching `[A-Za-z0-9._-]{1,64}`; it is not stored, and every tab beats. */
  sessionId?: string | null;
}

export interface Facility {
  readonly facilityId: string;
  readonly name: string;
  readonly countyId: string;
  readonly regionId: string;
  /** `removed` occurs in events only: the facility is gone, or has moved to another region. */
  readonly status: "online" | "offline" | "removed";
  /** Since when it is so (ISO 8601, UTC); null: never online. */
  readonly since: string | null;
  readonly sessions: number;
  readonly version: number;
  readonly reason: "heartbeat" | "expired" | "left" | "ended" | null;
  /** Its latest heartbeat; null: never, or not known since the last change. */
  readonly lastSeen: string | null;
}

export interface Region {
  readonly regionId: string;
  readonly name: string;
  /** False until the first snapshot has been read. */
  readonly isLoaded: boolean;
  readonly sequence: number;
  readonly asOf: string | null;
  readonly stale: boolean;
  readonly staleSince: string | null;
  readonly facilities: ReadonlyMap<string, Facility>;
}

export interface Connection {
  /** Live updates. `off`: no regions were asked for. */
  state: "connecting" | "live" | "reconnecting" | "offline" | "off" | "closed";
  /** Milliseconds to the next try of live updates, when one is planned. */
  retryIn: number | null;
  error: PulseError | null;
  /** This session's heartbeats. `standby`: another tab of this browser sends them. `ended`: by command, for good. */
  heartbeat: "off" | "starting" | "on" | "failing" | "standby" | "paused" | "ended";
  heartbeatError: PulseError | null;
}

export interface Stale {
  stale: boolean;
  since: string | null;
  /** `server`: it says so; `client`: its calls have failed for two intervals. */
  source: "server" | "client" | null;
}

export interface PulseEvents {
  /** A facility, once when it is first known and at each change. */
  facility: Facility;
  /** A region was read, after the events of its facilities. */
  region: Region;
  /** What is shown may be outdated (regionId null: all of it), or no longer. */
  stale: Stale & { regionId: string | null };
  alert: { regionId: string; facilityId: string; state: "offline" | "recovered"; since: string };
  /** Administrators hear of every agent of the regions that they follow, everybody of themselves. */
  agent: { userId: string; agentStatus: AgentStatus | "offline"; since: string };
  sessionEnded: { sessionId: string; reason: string; isOwn: boolean };
  connection: Connection;
}

export interface RequestOptions {
  method?: string;
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Milliseconds (15,000). */
  timeout?: number;
}

export interface Pulse {
  readonly regions: ReadonlyMap<string, Region>;
  readonly connection: Connection;
  readonly stale: Stale;
  readonly sessionId: string | null;
  /** The server's time in milliseconds since 1970, as far as it is known. */
  now(): number;
  facility(facilityId: string): Facility | null;
  on<Type extends keyof PulseEvents>(type: Type, listener: (event: PulseEvents[Type]) => void): () => void;
  /** Calls the API as this person. Rejects with PulseError. */
  request<Body = unknown>(path: string, options?: RequestOptions): Promise<Body>;
  refresh(): Promise<void>;
  setStatus(agentStatus: AgentStatus): void;
  setFacility(facilityId: string | null): void;
  /** Begins a new session after `sessionEnded`. */
  restart(): void;
  /** Stops everything and says that this session leaves. */
  close(): void;
}

/** An answer that is not what was asked for. `status` 0: there was none. */
export class PulseError extends Error {
  readonly status: number;
  /** A code of docs/errors.md, or `no-answer`, `no-token`, `unreadable-answer`, `cancelled`, `http-<status>`. */
  readonly code: string;
  readonly detail: string;
  /** Milliseconds. */
  readonly retryAfter: number;
}

/** Begins to send heartbeats and to follow regions; both can be left out. */
export function connect(options: ConnectOptions): Pulse;
