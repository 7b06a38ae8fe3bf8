/** Times, durations and reasons as people read them. */

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const count = new Intl.NumberFormat();

export const formatCount = (value) => count.format(value);
export const formatHour = (value) => hour.format(new Date(value));

/** The time of day, with the day when it is not today's. */
export function formatTime(value, now = Date.now()) {
  const at = new Date(value);
  const isToday = new Date(now).toDateString() === at.toDateString();
  return isToday ? time.format(at) : `${day.format(at)}, ${hour.format(at)}`;
}

/** The time with its date and zone. */
export const formatFull = (value) => full.format(new Date(value));

/** A duration in its two largest units: `4 s`, `2 min 05 s`, `3 h 20 min`, `5 d 2 h`. */
export function formatDuration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${pad(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A share from 0 to 1, never rounded up to a full 100 %. */
export function formatShare(share) {
  if (share >= 1) return "100 %";
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

/** What a status is called; one that never changed says so. */
export function statusOf(facility) {
  if (facility.status === "online") return "online";
  return facility.since === null ? "never" : "offline";
}

export const STATUS_NAMES = { online: "Online", offline: "Offline", never: "Never online" };
export const AGENT_STATUS_NAMES = { available: "Available", busy: "Busy", away: "Away", offline: "Offline" };

const REASONS = {
  heartbeat: "signed in",
  expired: "went silent",
  left: "signed off",
  ended: "session ended",
};

export const reasonOf = (reason) => REASONS[reason] ?? "";

/** When somebody was last there, in words. */
export function lastSeenOf({ status, since, lastSeen }, now) {
  if (status === "online") return "now";
  if (lastSeen) return formatTime(lastSeen, now);
  return since ? `before ${formatTime(since, now)}` : "never";
}

function pad(value) {
  return String(value).padStart(2, "0");
}
