/** The page of all facilities: regions, search and filters, the list, and the latest changes beside it. */

import { statusBadge } from "./badge.js";
import { arrange, h, icon, name, setText } from "./dom.js";
import * as format from "./format.js";
import { VirtualList } from "./virtual_list.js";

const FLASH = 2_000;
const FILTERS = [
  ["all", "All"],
  ["online", "Online"],
  ["offline", "Offline"],
  ["never", "Never online"],
];
const SORTS = [
  ["place", "By region"],
  ["recent", "Latest first"],
];

/** What was chosen outlives a visit to another page. */
const chosen = { text: "", status: "all", region: null, sort: "place" };

/** Shows the page in `main`; returns what ends it. */
export function showFacilities(main, { world, announce }, parameters) {
  if (parameters.regionId) chosen.region = parameters.regionId;
  const page = new FacilitiesPage(main, world, announce);
  return () => page.destroy();
}

class FacilitiesPage {
  #world;
  #announce;
  #list;
  #stops;
  #said = "";
  #parts = {};
  #regions = new Map();

  constructor(main, world, announce) {
    this.#world = world;
    this.#announce = announce;
    document.title = "Facilities · Facility Pulse";
    const rows = h("div", { class: "rows", role: "rowgroup" });
    main.replaceChildren(
      h(
        "div",
        { class: "page-head" },
        h("h1", {}, "Facilities"),
        this.#part("summary", h("p", { class: "summary" }, "\u00a0")),
      ),
      this.#part("regions", h("div", { class: "regions", role: "group", "aria-label": "Regions" })),
      h(
        "div",
        { class: "columns" },
        h(
          "section",
          { class: "list", "aria-label": "Facilities" },
          this.#toolbar(),
          h(
            "div",
            { class: "table", role: "table", "aria-label": "Facilities" },
            heading(),
            rows,
            this.#part("empty", h("p", { class: "empty", hidden: true })),
          ),
        ),
        h(
          "aside",
          { class: "changes", "aria-labelledby": "changes-title" },
          h("h2", { id: "changes-title" }, "Latest changes"),
          this.#part("changes", h("ol", { class: "feed" })),
        ),
      ),
    );
    this.#list = new VirtualList(rows, {
      group: { height: "--group-height", create: () => groupRow(world) },
      facility: { height: "--row-height", create: () => facilityRow(world) },
    });
    const tick = setInterval(() => this.#tick(), 1_000);
    const keys = (event) => this.#shortcut(event);
    addEventListener("keydown", keys);
    this.#stops = [
      world.onchange(() => this.#update()),
      () => clearInterval(tick),
      () => removeEventListener("keydown", keys),
      () => this.#list.destroy(),
    ];
    this.#update();
  }

  destroy() {
    this.#stops.forEach((stop) => stop());
  }

  #part(which, element) {
    this.#parts[which] = element;
    return element;
  }

  #toolbar() {
    const search = h("input", {
      type: "search",
      id: "search",
      value: chosen.text,
      placeholder: "Search",
      autocomplete: "off",
      spellcheck: false,
      "aria-label": "Search facilities by name, id or county",
      "aria-keyshortcuts": "/",
      oninput: () => this.#choose({ text: search.value }),
    });
    const sort = h(
      "select",
      { id: "sort", "aria-label": "Order", onchange: () => this.#choose({ sort: sort.value }) },
      SORTS.map(([value, text]) => h("option", { value, selected: value === chosen.sort }, text)),
    );
    const status = h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "unseen" }, "Status"),
      FILTERS.map(([value, text]) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: "status",
            value,
            checked: value === chosen.status,
            onchange: () => this.#choose({ status: value }),
          }),
          h("span", {}, text),
        ),
      ),
    );
    return h(
      "div",
      { class: "toolbar", role: "search" },
      h(
        "div",
        { class: "search" },
        icon("search"),
        this.#part("search", search),
        h("kbd", { "aria-hidden": "true" }, "/"),
      ),
      status,
      h("div", { class: "select" }, sort, icon("chevron")),
    );
  }

  #shortcut(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable], dialog")) return;
    event.preventDefault();
    this.#parts.search.focus();
  }

  #choose(change) {
    Object.assign(chosen, change);
    this.#update();
    const { length } = this.#shown;
    this.#announceCount(length);
  }

  #announceCount(length) {
    const text = `${format.formatCount(length)} ${length === 1 ? "facility" : "facilities"} shown`;
    if (text !== this.#said) this.#announce((this.#said = text));
  }

  #shown = [];

  #update() {
    const words = chosen.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const { entries } = this.#world;
    const regions = this.#world.regions;
    if (chosen.region !== null && this.#world.isLoaded && !regions.some((each) => each.regionId === chosen.region)) {
      chosen.region = null;
    }
    this.#shown = entries.filter(
      ({ facility, status, text }) =>
        (chosen.region === null || facility.regionId === chosen.region) &&
        (chosen.status === "all" || status === chosen.status) &&
        words.every((word) => text.includes(word)),
    );
    this.#showRegions(regions);
    this.#list.show(chosen.sort === "place" ? grouped(this.#shown) : recent(this.#shown));
    this.#showEmpty(entries.length);
    this.#showChanges();
  }

  #showRegions(regions) {
    const online = regions.reduce((sum, each) => sum + each.online, 0);
    const total = regions.reduce((sum, each) => sum + each.total, 0);
    const summary = total
      ? `${format.formatCount(online)} of ${format.formatCount(total)} can be reached right now`
      : "\u00a0";
    setText(this.#parts.summary, summary);
    const wanted = new Set(regions.map(({ regionId }) => regionId));
    for (const [regionId, card] of this.#regions) {
      if (wanted.has(regionId)) continue;
      card.element.remove();
      this.#regions.delete(regionId);
    }
    for (const region of regions) {
      let card = this.#regions.get(region.regionId);
      if (!card) {
        card = regionCard(region.regionId, (regionId) => {
          this.#choose({ region: chosen.region === regionId ? null : regionId });
        });
        this.#regions.set(region.regionId, card);
        this.#parts.regions.append(card.element);
      }
      card.update(region, chosen.region === region.regionId);
    }
  }

  #showEmpty(known) {
    const { empty } = this.#parts;
    empty.hidden = this.#shown.length > 0;
    if (this.#shown.length) return;
    const isNobodys = this.#world.pulse.connection.state === "live" && this.#world.pulse.regions.size === 0;
    if (known) setText(empty, "No facility matches. Change the search or the filters.");
    else if (isNobodys)
      setText(empty, "You belong to no facility yet, so there is nothing to show. An administrator can change that.");
    else setText(empty, this.#world.isLoaded ? "These regions have no facilities." : "Loading facilities…");
  }

  #showChanges() {
    const { changes } = this.#parts;
    const { changes: latest } = this.#world;
    if (!latest.length) {
      if (!changes.querySelector(".quiet")) {
        changes.replaceChildren(h("li", { class: "quiet" }, "None since you opened this page."));
      }
      return;
    }
    const known = new Map([...changes.children].map((each) => [each.dataset.key, each]));
    arrange(
      changes,
      latest.map((change) => known.get(change.key) ?? changeItem(change)),
    );
  }

  #tick() {
    if (document.visibilityState === "hidden") return;
    for (const [item, row] of this.#list.visible()) row.update(item);
  }
}

function heading() {
  const titles = ["Status", "Facility", "Since", "Sessions", "Last seen", "Reason"];
  return h(
    "div",
    { role: "rowgroup", class: "table-head" },
    h(
      "div",
      { role: "row", "aria-rowindex": "1" },
      titles.map((title) => h("span", { role: "columnheader" }, title)),
    ),
  );
}

function grouped(entries) {
  const items = [];
  let group = null;
  for (const entry of entries) {
    const { regionId, countyId, facilityId } = entry.facility;
    const key = `${regionId}/${countyId}`;
    if (group?.key !== key) items.push((group = { key, kind: "group", regionId, countyId, online: 0, total: 0 }));
    group.total += 1;
    if (entry.status === "online") group.online += 1;
    items.push({ key: `f ${facilityId}`, kind: "facility", entry });
  }
  return items;
}

function recent(entries) {
  const at = ({ facility }) => (facility.since ? Date.parse(facility.since) : 0);
  return entries
    .toSorted((one, other) => at(other) - at(one))
    .map((entry) => ({ key: `f ${entry.facility.facilityId}`, kind: "facility", entry }));
}

function groupRow(world) {
  const title = h("bdi", {});
  const county = h("bdi", { class: "quiet" });
  const count = h("span", { class: "quiet" });
  const element = h(
    "div",
    { class: "row group", role: "row" },
    h("span", { role: "cell", "aria-colspan": "6" }, title, " ", county, " ", count),
  );
  return {
    element,
    update({ regionId, countyId, online, total }) {
      setText(title, world.regionName(regionId));
      setText(county, world.countyName(countyId));
      county.title = countyId;
      setText(count, `${format.formatCount(online)} of ${format.formatCount(total)} online`);
    },
  };
}

function facilityRow(world) {
  const status = statusBadge();
  const link = h("a", {});
  const id = h("span", { class: "id quiet" });
  const cells = Object.fromEntries(
    ["since", "sessions", "seen", "reason"].map((key) => [key, h("span", { class: `cell-${key}`, role: "cell" })]),
  );
  const element = h(
    "div",
    { class: "row facility", role: "row" },
    h("span", { class: "cell-status", role: "cell" }, status.element),
    h("span", { class: "cell-name", role: "cell" }, link, id),
    Object.values(cells),
  );
  const label = h("bdi", {});
  link.append(label);
  return {
    element,
    update({ entry }) {
      const { facility } = entry;
      const now = world.pulse.now();
      status.update(entry.status);
      element.dataset.status = entry.status;
      element.classList.toggle("is-new", performance.now() - (entry.changedAt ?? -Infinity) < FLASH);
      setText(label, facility.name);
      link.title = facility.name;
      link.href = `#/facilities/${encodeURIComponent(facility.facilityId)}`;
      setText(id, facility.facilityId);
      setText(cells.since, facility.since ? format.formatDuration(now - Date.parse(facility.since)) : "–");
      cells.since.title = facility.since ? format.formatFull(facility.since) : "";
      setText(cells.sessions, format.formatCount(facility.sessions));
      cells.sessions.dataset.label = facility.sessions === 1 ? " session" : " sessions";
      setText(cells.seen, format.lastSeenOf(facility, now));
      setText(cells.reason, format.reasonOf(facility.reason));
    },
  };
}

function regionCard(regionId, choose) {
  const title = h("bdi", { class: "region-name" });
  const figure = h("span", { class: "figure" });
  const of = h("span", { class: "quiet" });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span", {}));
  const element = h(
    "button",
    { type: "button", class: "card region", onclick: () => choose(regionId) },
    title,
    h("span", { class: "figures" }, figure, " ", of),
    bar,
  );
  return {
    element,
    update({ name: text, isLoaded, online, total }, isChosen) {
      setText(title, text);
      title.title = text;
      setText(figure, isLoaded ? format.formatCount(online) : "–");
      setText(of, isLoaded ? `of ${format.formatCount(total)} online` : "loading");
      bar.firstChild.style.width = `${total ? (100 * online) / total : 0}%`;
      element.setAttribute("aria-pressed", String(isChosen));
    },
  };
}

function changeItem({ facility, key }) {
  const status = format.statusOf(facility);
  const badge = statusBadge();
  badge.update(status);
  return h(
    "li",
    { "data-key": key },
    h("a", { href: `#/facilities/${encodeURIComponent(facility.facilityId)}` }, name(facility.name)),
    h(
      "span",
      {},
      badge.element,
      h(
        "time",
        { datetime: facility.since, title: format.formatFull(facility.since) },
        format.formatTime(facility.since),
      ),
      format.reasonOf(facility.reason),
    ),
  );
}
