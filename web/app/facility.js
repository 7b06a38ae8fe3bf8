/** The page of one facility: how it is, how it was over the last hours, and how much went on there. */

import { statusBadge } from "./badge.js";
import { bars, stretches, timeline } from "./charts.js";
import { h, icon, name, setText } from "./dom.js";
import * as format from "./format.js";
import { activityTable, changesTable } from "./tables.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const RELOAD = MINUTE;
const MOST_PAGES = 10;
/** How far back one looks: the whole, and one bar of it. */
const RANGES = {
  hour: { title: "Last hour", short: "1 h", length: HOUR, step: MINUTE, granularity: "minute" },
  day: { title: "Last 24 hours", short: "24 h", length: 24 * HOUR, step: HOUR, granularity: "hour" },
};

/** Shows the page in `main`; returns what ends it. */
export function showFacility(main, { world, announce, isAdmin }, { facilityId }) {
  const page = new FacilityPage(main, world, announce, facilityId, isAdmin);
  return () => page.destroy();
}

class FacilityPage {
  #world;
  #announce;
  #facilityId;
  #parts = {};
  #over = new AbortController();
  #held = null;
  #isFollowed = false;
  #shownVersion = null;

  constructor(main, world, announce, facilityId, isAdmin) {
    this.#world = world;
    this.#announce = announce;
    this.#facilityId = facilityId;
    document.title = `${facilityId} · Facility Pulse`;
    const badge = statusBadge();
    this.#parts.badge = badge;
    main.replaceChildren(
      h("nav", { class: "back", "aria-label": "Back" }, h("a", { href: "#/" }, icon("back"), "All facilities")),
      h(
        "div",
        { class: "facility-head" },
        this.#part("title", h("h1", {}, h("bdi", {}, facilityId))),
        this.#part("place", h("p", { class: "quiet" }, "\u00a0")),
      ),
      h(
        "section",
        { class: "card now", "aria-label": "Now" },
        h("p", { class: "now-status" }, badge.element, this.#part("since", h("span", { class: "now-since" }))),
        this.#part("reason", h("p", { class: "quiet" }, "\u00a0")),
        h(
          "dl",
          { class: "stats" },
          this.#stat("Sessions", "sessions"),
          this.#stat("Last seen", "seen"),
          this.#stat("Uptime, 24 h", "uptime"),
          this.#stat("Changes, 24 h", "count"),
        ),
        isAdmin &&
          h(
            "p",
            {},
            h("a", { href: "#/agents", onclick: () => sessionStorage.setItem("agents of", facilityId) }, "Agents here"),
          ),
      ),
      section(
        "Timeline",
        this.#part("timeline", h("div", { class: "plot-space is-low" }, "Loading…")),
        this.#rangeChoice(),
      ),
      section("Activity", this.#part("activity", h("div", { class: "plot-space" }, "Loading…"))),
      section("Changes", this.#part("changes", h("div", { class: "changes-space" }, "Loading…"))),
    );
    badge.element.classList.add("is-large");
    const tick = setInterval(() => this.#showNow(), 1_000);
    const reload = setInterval(() => document.visibilityState === "visible" && this.#reread(), RELOAD);
    const stop = world.onchange(() => this.#changed());
    this.#over.signal.addEventListener("abort", () => {
      clearInterval(tick);
      clearInterval(reload);
      stop();
    });
    this.#changed();
    this.#readNow();
    this.#readPast();
  }

  destroy() {
    this.#over.abort();
  }

  #part(which, element) {
    this.#parts[which] = element;
    return element;
  }

  #stat(title, which) {
    return h("div", {}, this.#part(`${which}-title`, h("dt", {}, title)), this.#part(which, h("dd", {}, "–")));
  }

  #rangeChoice() {
    return h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "unseen" }, "How far back"),
      Object.entries(RANGES).map(([value, { title }]) =>
        h(
          "label",
          {},
          this.#part(
            `range-${value}`,
            h("input", {
              type: "radio",
              name: "range",
              value,
              checked: value === "day",
              onchange: () => this.#choose(value),
            }),
          ),
          h("span", {}, title),
        ),
      ),
    );
  }

  #range = RANGES.day;
  #isChosen = false;

  #choose(range, { byPerson = true } = {}) {
    this.#isChosen ||= byPerson;
    this.#range = RANGES[range];
    this.#parts[`range-${range}`].checked = true;
    setText(this.#parts["uptime-title"], `Uptime, ${this.#range.short}`);
    setText(this.#parts["count-title"], `Changes, ${this.#range.short}`);
    this.#readPast();
  }

  get #facility() {
    return this.#world.entry(this.#facilityId)?.facility ?? this.#held;
  }

  /** Also finds a facility that is not followed here, and says why one cannot be shown. */
  async #readNow() {
    try {
      const facility = await this.#request("");
      if (typeof facility.facilityId !== "string") return;
      this.#held = { ...facility, name: String(facility.name ?? facility.facilityId) };
      this.#showNow();
    } catch (error) {
      if (this.#over.signal.aborted || ![403, 404].includes(error.status)) return;
      this.#held = null;
      const text =
        error.status === 404
          ? "There is no facility with this id. It may have been removed from the directory."
          : "This facility is in a region that is not one of yours.";
      setText(this.#parts.reason, text);
      setText(this.#parts.since, "");
      this.#parts.badge.element.hidden = true;
      for (const which of ["sessions", "seen", "uptime", "count"]) setText(this.#parts[which], "–");
      for (const which of ["timeline", "activity", "changes"]) unavailable(this.#parts[which], "Nothing to show.");
      this.destroy();
    }
  }

  #request(path) {
    const { signal } = this.#over;
    return this.#world.pulse.request(`/facilities/${encodeURIComponent(this.#facilityId)}${path}`, { signal });
  }

  #reread() {
    if (!this.#isFollowed) this.#readNow();
    this.#readPast();
  }

  #changed() {
    const followed = this.#world.entry(this.#facilityId)?.facility;
    // Removed from the directory, or now in a region that is not followed: the API knows which.
    if (this.#isFollowed && !followed) this.#readNow();
    this.#isFollowed = followed !== undefined;
    this.#held = followed ?? this.#held;
    const facility = this.#facility;
    if (facility && this.#shownVersion !== null && facility.version !== this.#shownVersion) {
      this.#announce(`${facility.name}: ${format.STATUS_NAMES[format.statusOf(facility)]}`);
      this.#drawPast();
    }
    this.#shownVersion = facility?.version ?? this.#shownVersion;
    this.#showNow();
  }

  #showNow() {
    const facility = this.#facility;
    if (!facility) return;
    const now = this.#world.pulse.now();
    const { badge, title, place, since, reason, sessions, seen } = this.#parts;
    if (title.textContent !== facility.name) {
      title.replaceChildren(name(facility.name));
      document.title = `${facility.name} · Facility Pulse`;
    }
    const { regionId, countyId, facilityId } = facility;
    const parts = [this.#world.regionName(regionId), this.#world.countyName(countyId), facilityId].filter(Boolean);
    if (place.textContent !== parts.join(" · ")) {
      place.replaceChildren(...parts.flatMap((part, index) => (index ? [" · ", name(part)] : [name(part)])));
    }
    badge.update(format.statusOf(facility));
    setText(since, facility.since ? `for ${format.formatDuration(now - Date.parse(facility.since))}` : "");
    const because = format.reasonOf(facility.reason);
    setText(
      reason,
      facility.since
        ? `Since ${format.formatFull(facility.since)}${because && `: ${because}`}.`
        : "Nobody has signed in here yet.",
    );
    setText(sessions, format.formatCount(facility.sessions));
    setText(seen, format.lastSeenOf(facility, now));
  }

  // -- the past

  #history = null;

  async #readPast() {
    const range = this.#range;
    const { length, step, granularity } = range;
    const to = this.#world.pulse.now();
    const from = to - length;
    const between = (start) =>
      new URLSearchParams({ from: new Date(start).toISOString(), to: new Date(to).toISOString() });
    await Promise.all([
      this.#show("history", ["timeline", "changes"], async () => {
        const history = await this.#readHistory(between(from));
        if (range !== this.#range) return;
        this.#history = history;
        this.#drawPast();
        this.#comeCloser(history.items, to);
      }),
      this.#show("activity", ["activity"], async () => {
        const start = Math.floor(from / step) * step;
        const { items } = await this.#request(`/activity?${between(start)}&granularity=${granularity}`);
        if (!Array.isArray(items)) throw new Error("Its answer cannot be read.");
        if (range === this.#range) this.#drawActivity(items, start, to);
      }),
    ]);
  }

  /** The history of a range, page by page. */
  async #readHistory(range) {
    const read = async (cursor) => {
      const page = await this.#request(`/history?${range}&limit=1000${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      if (!Array.isArray(page.items)) throw new Error("Its answer cannot be read.");
      return page;
    };
    const history = await read("");
    let { cursor } = history;
    for (let pages = 1; cursor && pages < MOST_PAGES; pages++) {
      const page = await read(cursor);
      history.items.push(...page.items);
      cursor = page.cursor;
    }
    return history;
  }

  /** A facility that is known for less than an hour would show next to nothing of a day. */
  #comeCloser(items, now) {
    const first = items.at(-1);
    const isNew = first?.version === 1 && now - Date.parse(first.at) < HOUR;
    if (isNew && this.#range === RANGES.day && !this.#isChosen) this.#choose("hour", { byPerson: false });
  }

  async #show(what, parts, read) {
    try {
      await read();
    } catch (error) {
      if (this.#over.signal.aborted) return;
      const text =
        error.status === 404
          ? `This server does not offer ${what}.`
          : `The ${what} cannot be read now: ${error.message}`;
      // What was drawn before is kept: it is still what happened.
      for (const part of parts) if (!this.#parts[part].dataset.drawn) unavailable(this.#parts[part], text);
    }
  }

  #drawPast() {
    if (!this.#history) return;
    const { items, uptime } = this.#history;
    const to = this.#world.pulse.now();
    const { length, title } = this.#range;
    const from = to - length;
    const seen = [...(this.#world.entry(this.#facilityId)?.seen ?? []), this.#facility].filter(Boolean);
    const parts = stretches(items, seen, from, to);
    const changes = parts.filter(({ version }) => version !== undefined && version > 0);
    const share = typeof uptime === "number" ? format.formatShare(uptime) : "not known";
    setText(this.#parts.uptime, share);
    setText(this.#parts.count, format.formatCount(changes.length));
    const label = `${title}: online ${share} of the time, ${changes.length} changes.`;
    draw(this.#parts.timeline, timeline(parts, from, to, label), legend());
    draw(this.#parts.changes, changesTable(changes.toReversed(), to, title));
  }

  #drawActivity(items, from, to) {
    const { step, granularity } = this.#range;
    const known = new Map(items.map((item) => [Math.floor(Date.parse(item.start) / step) * step, item]));
    const starts = [];
    for (let at = from; at < to; at += step) starts.push(at);
    const end = starts.at(-1) + step;
    const values = (pick) => starts.map((start) => ({ start, value: Number(pick(known.get(start) ?? {})) || 0 }));
    const isHourly = granularity === "hour";
    const shown = [
      [
        (item) => item.onlineSeconds / (isHourly ? 60 : 1),
        {
          title: "Time online",
          unit: isHourly ? "min" : "s",
          most: 60,
          format: (value) => format.formatCount(Math.round(value)),
        },
      ],
      isHourly && [(item) => item.uniqueUsers, { title: "People", unit: "people" }],
      [(item) => item.heartbeats, { title: "Heartbeats", unit: "heartbeats" }],
      !isHourly && [(item) => item.sessionsStarted, { title: "Sessions started", unit: "sessions" }],
    ].filter(Boolean);
    const plots = shown.map(([pick, labels]) => bars(values(pick), from, end, step, labels));
    const table = activityTable(starts.map((start) => [start, known.get(start) ?? {}]).toReversed(), granularity);
    draw(
      this.#parts.activity,
      h("div", { class: "plots" }, plots),
      h("details", {}, h("summary", {}, "As a table"), table),
    );
  }
}

function section(title, content, controls = null) {
  const id = `title-${title.toLowerCase()}`;
  const head = h("div", { class: "section-head" }, h("h2", { id }, title), controls);
  return h("section", { class: "card", "aria-labelledby": id }, head, content);
}

const KEPT = "details, summary, .scroll";

/** Draws anew; what was open, scrolled or focused stays so. */
function draw(space, ...content) {
  const before = [...space.querySelectorAll(KEPT)].map((each) => ({
    isOpen: each.open,
    top: each.scrollTop,
    hadFocus: each === document.activeElement,
  }));
  space.replaceChildren(...content);
  space.dataset.drawn = "true";
  [...space.querySelectorAll(KEPT)].forEach((each, index) => {
    const { isOpen, top, hadFocus } = before[index] ?? {};
    if (isOpen) each.open = true;
    if (top) each.scrollTop = top;
    if (hadFocus) each.focus({ preventScroll: true });
  });
}

function unavailable(space, text) {
  space.replaceChildren(h("p", { class: "quiet" }, text));
}

function legend() {
  return h(
    "ul",
    { class: "legend", "aria-hidden": "true" },
    ["online", "offline", "never"].map((status) =>
      h("li", {}, h("span", { class: `swatch is-${status}` }), format.STATUS_NAMES[status]),
    ),
  );
}
