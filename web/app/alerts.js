/** Facilities that have been offline for long, in a corner of every page, until they are back or waved away. */

import { h, icon, name } from "./dom.js";
import * as format from "./format.js";

const SHOWN = 3;
const SHOWN_ON_PHONE = 1;
const RECOVERED_FOR = 30_000;

/** Shows in `corner` what `alert` events tell; what has recovered says so for a while and goes. */
export function showAlerts(corner, { pulse, world }) {
  new Alerts(corner, pulse, world);
}

class Alerts {
  #world;
  #items = new Map();
  #list = h("ol", {});
  #more;
  #buttons;
  #isPhone = matchMedia("(max-width: 48rem)");
  #isOpen = false;
  #frame = 0;

  constructor(corner, pulse, world) {
    this.#world = world;
    this.#more = h("button", { type: "button", class: "button small", onclick: () => this.#toggle() });
    const dismiss = h("button", { type: "button", class: "button small", onclick: () => this.#clear() }, "Dismiss all");
    this.#buttons = h("div", { class: "buttons", hidden: true }, this.#more, dismiss);
    this.#isPhone.addEventListener("change", () => this.#arrange());
    // Only what is added is read aloud: an alert once, and once that it is over.
    const log = h("div", { role: "log", "aria-label": "Alerts", "aria-relevant": "additions" }, this.#list);
    corner.replaceChildren(log, this.#buttons);
    pulse.on("alert", (alert) => this.#took(alert));
    pulse.on("facility", (facility) => this.#changed(facility));
    world.onchange(() => this.#rename());
  }

  #took({ facilityId, state, since }) {
    const held = this.#items.get(facilityId);
    const now = this.#world.entry(facilityId)?.facility;
    if (state === "recovered") {
      // Told before by the facility's own change, which is faster.
      if (held?.state !== "recovered") this.#recover(facilityId, since);
    } else if (now?.status !== "online" || !(Date.parse(now.since) > Date.parse(since))) {
      this.#put(facilityId, { state: "offline", since });
    }
  }

  #changed({ facilityId, status, since }) {
    const held = this.#items.get(facilityId);
    if (!held) return;
    if (status === "removed") this.#remove(facilityId);
    else if (status === "online" && held.state === "offline") this.#recover(facilityId, since);
    else if (status === "offline" && held.state === "recovered") this.#remove(facilityId);
  }

  #recover(facilityId, since) {
    this.#put(facilityId, { state: "recovered", since });
    this.#items.get(facilityId).timer = setTimeout(() => this.#remove(facilityId), RECOVERED_FOR);
  }

  #put(facilityId, alert) {
    const held = this.#items.get(facilityId);
    clearTimeout(held?.timer);
    const element = this.#draw(facilityId, alert);
    if (held) held.element.replaceWith(element);
    else this.#list.prepend(element);
    this.#items.set(facilityId, { ...alert, element });
    this.#soon();
  }

  #remove(facilityId) {
    const { element, timer } = this.#items.get(facilityId);
    clearTimeout(timer);
    const hadFocus = element.contains(document.activeElement);
    element.remove();
    this.#items.delete(facilityId);
    this.#soon();
    if (hadFocus) this.#focusNext();
  }

  #clear() {
    for (const facilityId of [...this.#items.keys()]) this.#remove(facilityId);
    this.#focusNext();
  }

  #focusNext() {
    this.#arrange();
    (this.#list.querySelector("li:not([hidden]) button") ?? document.querySelector("#main")).focus({
      preventScroll: true,
    });
  }

  #draw(facilityId, { state, since }) {
    const isOver = state === "recovered";
    const at = Number.isFinite(Date.parse(since)) ? Date.parse(since) : this.#world.pulse.now();
    const label = name(this.#nameOf(facilityId));
    return h(
      "li",
      { class: "alert", "data-state": state, "data-facility": facilityId },
      icon(isOver ? "online" : "warning"),
      h(
        "p",
        {},
        h("a", { href: `#/facilities/${encodeURIComponent(facilityId)}` }, label),
        h(
          "span",
          {},
          isOver ? "online again since " : "offline since ",
          h("time", { datetime: new Date(at).toISOString(), title: format.formatFull(at) }, format.formatTime(at)),
        ),
      ),
      h(
        "button",
        { type: "button", class: "close", "aria-label": "Dismiss alert", onclick: () => this.#remove(facilityId) },
        icon("close"),
      ),
    );
  }

  #nameOf(facilityId) {
    return this.#world.entry(facilityId)?.facility.name ?? facilityId;
  }

  /** An alert may come before the snapshot that has the name. */
  #rename() {
    for (const [facilityId, { element }] of this.#items) {
      const label = element.querySelector("bdi");
      const text = this.#nameOf(facilityId);
      if (label.textContent !== text) label.replaceWith(name(text));
    }
  }

  #toggle() {
    this.#isOpen = !this.#isOpen;
    this.#arrange();
  }

  /** Arranges once for all that comes before the next frame: a region's outage is thousands of alerts. */
  #soon() {
    this.#frame ||= requestAnimationFrame(() => this.#arrange());
  }

  #arrange() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { children } = this.#list;
    const shown = this.#isPhone.matches ? SHOWN_ON_PHONE : SHOWN;
    const hidden = Math.max(children.length - shown, 0);
    this.#isOpen &&= hidden > 0;
    [...children].forEach((each, index) => (each.hidden = !this.#isOpen && index >= shown));
    this.#buttons.hidden = hidden === 0;
    this.#more.textContent = this.#isOpen ? "Show fewer" : `Show ${format.formatCount(hidden)} more`;
    this.#more.setAttribute("aria-expanded", String(this.#isOpen));
  }
}
