/** The page of one facility: how it is, how it was over the last day, and how much went on there. */

import { bars, stretches, timeline } from "./charts.js";
import { h, icon, name, setText } from "./dom.js";
import { statusBadge } from "./facilities.js";
import * as format from "./format.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const RELOAD = 60_000;
const SHOWN_CHANGES = 25;

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
          h("p", {}, h("a", { href: "#/agents", onclick: () => sessionStorage.setItem("agents of", facilityId) }, "Agents here")),
      ),
      section("Last 24 hours", this.#part("timeline", h("div", { class: "plot-space is-low" }, "Loading…"))),
      section("Activity", this.#part("activity", h("div", { class: "plot-space" }, "Loading…"))),
      section("Changes", this.#part("changes", h("div", { class: "changes-space" }, "Loading…"))),
    );
    badge.element.classList.add("is-large");
    const tick = setInterval(() => this.#showNow(), 1_000);
    const reload = setInterval(() => document.visibilityState === "visible" && this.#readPast(), RELOAD);
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
    return h("div", {}, h("dt", {}, title), this.#part(which, h("dd", {}, "–")));
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
      for (const which of ["timeline", "activity", "changes"]) unavailable(this.#parts[which], "Nothing to show.");
      this.destroy();
    }
  }

  #request(path) {
    const { signal } = this.#over;
    return this.#world.pulse.request(`/facilities/${encodeURIComponent(this.#facilityId)}${path}`, { signal });
  }

  #changed() {
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
    setText(place, `${this.#world.regionName(facility.regionId)} · ${facility.countyId} · ${facility.facilityId}`);
    badge.update(format.statusOf(facility));
    setText(since, facility.since ? `for ${format.formatDuration(now - Date.parse(facility.since))}` : "");
    const because = format.reasonOf(facility.reason);
    setText(
      reason,
      facility.since ? `Since ${format.formatFull(facility.since)}${because && `: ${because}`}.` : "Nobody has signed in here yet.",
    );
    setText(sessions, format.formatCount(facility.sessions));
    setText(seen, format.lastSeenOf(facility, now));
  }

  // -- the past

  #history = null;

  async #readPast() {
    const to = this.#world.pulse.now();
    const from = to - DAY;
    const range = `from=${encodeURIComponent(new Date(from).toISOString())}&to=${encodeURIComponent(new Date(to).toISOString())}`;
    await Promise.all([
      this.#show("history", ["timeline", "changes"], async () => {
        const history = await this.#request(`/history?${range}&limit=500`);
        if (!Array.isArray(history.items)) throw new Error("Its answer cannot be read.");
        this.#history = history;
        this.#drawPast();
      }),
      this.#show("activity", ["activity"], async () => {
        const start = Math.floor(from / HOUR) * HOUR;
        const wanted = `from=${encodeURIComponent(new Date(start).toISOString())}&to=${encodeURIComponent(new Date(to).toISOString())}`;
        const { items } = await this.#request(`/activity?${wanted}&granularity=hour`);
        if (!Array.isArray(items)) throw new Error("Its answer cannot be read.");
        this.#drawActivity(items, start, to);
      }),
    ]);
  }

  async #show(what, parts, read) {
    try {
      await read();
    } catch (error) {
      if (this.#over.signal.aborted) return;
      const text = error.status === 404 ? `This server does not offer ${what}.` : `The ${what} cannot be read now: ${error.message}`;
      // What was drawn before is kept: it is still what happened.
      for (const part of parts) if (!this.#parts[part].dataset.drawn) unavailable(this.#parts[part], text);
    }
  }

  #drawPast() {
    if (!this.#history) return;
    const { items, uptime } = this.#history;
    const to = this.#world.pulse.now();
    const from = to - DAY;
    const facility = this.#facility;
    const parts = stretches(items, facility, from, to);
    const changes = parts.filter(({ version }) => version !== undefined && version > 0);
    const share = typeof uptime === "number" ? format.formatShare(uptime) : "not known";
    setText(this.#parts.uptime, share);
    setText(this.#parts.count, format.formatCount(changes.length));
    const label = `The last 24 hours: online ${share} of the time, ${changes.length} changes.`;
    draw(this.#parts.timeline, timeline(parts, from, to, label), legend());
    draw(this.#parts.changes, changesTable(changes.toReversed(), to));
  }

  #drawActivity(items, from, to) {
    const known = new Map(items.map((item) => [Math.floor(Date.parse(item.start) / HOUR) * HOUR, item]));
    const starts = [];
    for (let at = from; at < to; at += HOUR) starts.push(at);
    const end = starts.at(-1) + HOUR;
    const values = (pick) => starts.map((start) => ({ start, value: Number(pick(known.get(start) ?? {})) || 0 }));
    const plots = [
      bars(values((item) => item.onlineSeconds / 60), from, end, {
        title: "Time online",
        unit: "min",
        most: 60,
        format: (value) => format.formatCount(Math.round(value)),
      }),
      bars(values((item) => item.uniqueUsers), from, end, { title: "People", unit: "people" }),
      bars(values((item) => item.heartbeats), from, end, { title: "Heartbeats", unit: "heartbeats" }),
    ];
    const table = activityTable(starts.map((start) => [start, known.get(start) ?? {}]).toReversed());
    draw(this.#parts.activity, h("div", { class: "plots" }, plots), h("details", {}, h("summary", {}, "As a table"), table));
  }
}

function section(title, content) {
  const id = `title-${title.replace(/\W+/g, "-").toLowerCase()}`;
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), content);
}

function draw(space, ...content) {
  const wasOpen = space.querySelector("details")?.open;
  space.replaceChildren(...content);
  space.dataset.drawn = "true";
  const details = space.querySelector("details");
  if (details && wasOpen) details.open = true;
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

function changesTable(changes, now) {
  if (!changes.length) return h("p", { class: "quiet" }, "Nothing has changed in the last 24 hours.");
  const rows = changes.slice(0, SHOWN_CHANGES).map(({ status, reason, start, end }) => {
    const badge = statusBadge();
    badge.update(status);
    return h(
      "tr",
      {},
      h("td", {}, h("time", { datetime: new Date(start).toISOString(), title: format.formatFull(start) }, format.formatTime(start, now))),
      h("td", {}, badge.element),
      h("td", {}, format.formatDuration(end - start)),
      h("td", { class: "quiet" }, format.reasonOf(reason)),
    );
  });
  const more = changes.length - rows.length;
  return h(
    "div",
    {},
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Changes of the last 24 hours" },
      h("table", {}, tableHead(["Time", "Status", "Lasted", "Reason"]), h("tbody", {}, rows)),
    ),
    more > 0 && h("p", { class: "quiet" }, `and ${format.formatCount(more)} earlier ones`),
  );
}

function activityTable(hours) {
  const figure = (value) => h("td", { class: "number" }, value === undefined ? "–" : format.formatCount(value));
  const ended = ({ sessionsEnded: { expired = 0, left = 0, ended = 0 } = {} }) => expired + left + ended;
  const rows = hours.map(([start, item]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, format.formatTime(start)),
      figure(item.onlineSeconds === undefined ? undefined : Math.round(item.onlineSeconds / 60)),
      figure(item.uniqueUsers),
      figure(item.heartbeats),
      figure(item.sessionsStarted),
      figure(item.sessionsEnded === undefined ? undefined : ended(item)),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Activity by hour" },
    h(
      "table",
      {},
      tableHead(["Hour", "Minutes online", "People", "Heartbeats", "Sessions started", "Sessions ended"]),
      h("tbody", {}, rows),
    ),
  );
}

function tableHead(titles) {
  return h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title))));
}
