/** Two drawings: what a facility was over a day, and a figure per hour. Both say in words what they show. */

import { h, s } from "./dom.js";
import { formatCount, formatDuration, formatHour, formatTime, STATUS_NAMES } from "./format.js";

const HOUR = 3_600_000;
const HEIGHT = 100;

/**
 * The stretches of one status between `from` and `to`, oldest first: `{status, start, end, reason}`.
 * `transitions` as the API gives them, newest first; `seen` are states that came after them, oldest first, the last of
 * which is the present.
 */
export function stretches(transitions, seen, from, to) {
  const known = transitions
    .filter(({ at, status }) => Number.isFinite(Date.parse(at)) && (status === "online" || status === "offline"))
    .map(({ version, status, at, reason }) => ({ version, status, reason, start: Date.parse(at) }));
  const newest = known.reduce((most, { version }) => Math.max(most, version), -1);
  for (const { version, status, since, reason } of seen) {
    if (since && version > newest) known.push({ version, status, reason, start: Date.parse(since) });
  }
  known.sort((one, other) => one.version - other.version);
  const first = known[0];
  let before = "never";
  if (first) before = first.version <= 1 ? "never" : first.status === "online" ? "offline" : "online";
  const all = [{ status: before, reason: null, start: from }, ...known];
  return all
    .map((each, index) => ({
      ...each,
      start: Math.max(each.start, from),
      end: Math.min(all[index + 1]?.start ?? to, to),
    }))
    .filter(({ start, end }) => end > start);
}

/** A band from `from` to `to`; online stands tall, offline lies low, so that it is read without colours too. */
export function timeline(parts, from, to, label) {
  const width = to - from;
  const band = s(
    "svg",
    { class: "timeline", viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    parts.map(({ status, start, end }) => {
      const height = { online: HEIGHT, offline: 28, never: 6 }[status];
      const text = `${STATUS_NAMES[status]} ${formatTime(start)} – ${formatTime(end)}, ${formatDuration(end - start)}`;
      return s(
        "rect",
        {
          class: `is-${status}`,
          x: (1000 * (start - from)) / width,
          y: HEIGHT - height,
          width: Math.max((1000 * (end - start)) / width, 0.6),
          height,
        },
        s("title", {}, text),
      );
    }),
  );
  return h("div", { class: "chart" }, band, hours(from, to));
}

/** One bar for each `step` milliseconds. `items` are `{start, value}`; `unit` says what `value` counts. */
export function bars(items, from, to, step, { title, unit, most = null, format = formatCount }) {
  const highest = most ?? Math.max(1, ...items.map(({ value }) => value));
  const width = 1000 * (step / (to - from));
  const drawn = items.map(({ start, value }) => {
    const height = value > 0 ? Math.max((HEIGHT * value) / highest, 2) : 0;
    return s(
      "rect",
      {
        class: "is-bar",
        x: (1000 * (start - from)) / (to - from) + width * 0.14,
        y: HEIGHT - height,
        width: width * 0.72,
        height,
      },
      s("title", {}, `${formatHour(start)}: ${format(value)} ${unit}`),
    );
  });
  const told = items
    .filter(({ value }) => value > 0)
    .map(({ start, value }) => `${formatHour(start)} ${format(value)}`);
  const label = `${title}: ${told.length ? told.join(", ") : "none"}`;
  return h(
    "figure",
    { class: "plot" },
    h(
      "figcaption",
      {},
      h("span", {}, title),
      h("span", { class: "quiet" }, most === null ? `highest ${format(highest)}` : `of ${format(most)} ${unit}`),
    ),
    h(
      "div",
      { class: "chart" },
      s(
        "svg",
        { class: "bars", viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
        [25, 50, 75].map((y) => s("line", { x1: 0, x2: 1000, y1: y, y2: y })),
        drawn,
      ),
      hours(from, to),
    ),
  );
}

/** A few times of day below a drawing. */
function hours(from, to) {
  const step = to - from > 2 * HOUR ? 6 * HOUR : HOUR / 4;
  const offset = new Date(from).getTimezoneOffset() * 60_000;
  const marks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
    const share = (at - from) / (to - from);
    if (share < 0.07 || share > 0.93) continue;
    const mark = h("span", {}, formatHour(at));
    mark.style.insetInlineStart = `${100 * share}%`;
    marks.push(mark);
  }
  return h("div", { class: "axis", "aria-hidden": "true" }, marks);
}
