/** The agents panel: everybody who is signed in, on whichever server; their status changed, their sessions ended. */

import { agentOf, agentRow, STATUSES } from "./agent_row.js";
import { h, icon, name, setText } from "./dom.js";
import * as format from "./format.js";

const PAGE = 200;
const SETTLE = 300;
const REREAD = 5_000;
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Shows the page in `main`; returns what ends it. */
export function showAgents(main, session) {
  const page = new AgentsPage(main, session);
  return () => page.destroy();
}

class AgentsPage {
  #pulse;
  #world;
  #announce;
  #agents = new Map();
  #rows = new Map();
  #chosen = { regionId: "", facilityId: "", status: "" };
  #cursor = null;
  #limit = PAGE;
  #reading = null;
  #again = false;
  #timer = null;
  #parts = {};
  #isPressed = false;
  #over = new AbortController();

  constructor(main, { pulse, world, announce, isAdmin }) {
    this.#pulse = pulse;
    this.#world = world;
    this.#announce = announce;
    document.title = "Agents · Facility Pulse";
    if (!isAdmin) {
      main.replaceChildren(h("h1", {}, "Agents"), h("p", {}, "Only administrators see who is signed in."));
      return;
    }
    this.#chosen.facilityId = sessionStorage.getItem("agents of") ?? "";
    sessionStorage.removeItem("agents of");
    main.replaceChildren(
      h(
        "div",
        { class: "page-head" },
        h("h1", {}, "Agents"),
        this.#part("summary", h("p", { class: "summary" }, "\u00a0")),
      ),
      this.#filters(),
      this.#part("problem", h("p", { class: "problem", role: "alert", hidden: true })),
      h(
        "div",
        { class: "card agents-card" },
        h(
          "table",
          { class: "agents" },
          h("caption", { class: "unseen" }, "Agents who are signed in"),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Agent", "Facilities", "Status", "Since", "Last seen", "Sessions"].map((title) =>
                h("th", { scope: "col" }, title),
              ),
            ),
          ),
          this.#part("rows", h("tbody", { onpointerdown: (event) => this.#press(event) })),
        ),
        this.#part("empty", h("p", { class: "empty" }, "Loading agents…")),
        this.#part(
          "more",
          h("button", { type: "button", class: "button", hidden: true, onclick: () => this.#showMore() }, "Show more"),
        ),
      ),
      this.#part("dialog", h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" })),
    );
    const tick = setInterval(() => document.visibilityState === "visible" && this.#tick(), 1_000);
    const reread = setInterval(() => document.visibilityState === "visible" && this.#soon(), REREAD);
    const stops = [
      pulse.on("agent", (event) => this.#changed(event)),
      pulse.on("connection", ({ state }) => state === "live" && this.#soon()),
      world.onchange(() => this.#fillChoices()),
      () => clearInterval(tick),
      () => clearInterval(reread),
      () => clearTimeout(this.#timer),
    ];
    this.#over.signal.addEventListener("abort", () => stops.forEach((stop) => stop()));
    this.#fillChoices();
    this.#read();
  }

  destroy() {
    this.#over.abort();
  }

  #part(which, element) {
    this.#parts[which] = element;
    return element;
  }

  // -- filters

  #filters() {
    const select = (id, title, key) =>
      h(
        "div",
        { class: "field" },
        h("label", { htmlFor: id }, title),
        h(
          "span",
          { class: "select" },
          this.#part(id, h("select", { id, onchange: (event) => this.#choose(key, event.target.value) })),
          icon("chevron"),
        ),
      );
    return h(
      "div",
      { class: "toolbar filters", role: "search", "aria-label": "Filter agents" },
      select("agents-region", "Region", "regionId"),
      select("agents-facility", "Facility", "facilityId"),
      select("agents-status", "Status", "status"),
    );
  }

  #fillChoices() {
    const facilities = this.#world.entries
      .map(({ facility }) => facility)
      .filter(({ regionId }) => !this.#chosen.regionId || regionId === this.#chosen.regionId);
    this.#fill(
      "agents-region",
      this.#chosen.regionId,
      "All regions",
      this.#world.regions.map((each) => [each.regionId, each.name]),
    );
    this.#fill(
      "agents-facility",
      this.#chosen.facilityId,
      "All facilities",
      facilities.map((each) => [each.facilityId, each.name]),
    );
    this.#fill(
      "agents-status",
      this.#chosen.status,
      "Any status",
      STATUSES.map((each) => [each, format.AGENT_STATUS_NAMES[each]]),
    );
  }

  #fill(id, value, all, choices) {
    const select = this.#parts[id];
    const key = JSON.stringify([value, choices]);
    if (
      select.dataset.filled === key ||
      (select.matches(":focus") && select.options.length > 1 && select.value === value)
    )
      return;
    select.dataset.filled = key;
    select.replaceChildren(
      h("option", { value: "" }, all),
      ...choices.map(([each, text]) => h("option", { value: each }, text)),
    );
    select.value = value;
  }

  #choose(key, value) {
    this.#chosen[key] = value;
    if (key === "regionId") this.#chosen.facilityId = "";
    this.#limit = PAGE;
    this.#fillChoices();
    this.#read().then(() => this.#announce(this.#parts.summary.textContent));
  }

  #showMore() {
    this.#limit += PAGE;
    this.#read();
  }

  // -- reading

  #soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#read();
    }, SETTLE);
  }

  async #read() {
    if (this.#reading) {
      this.#again = true;
      return this.#reading;
    }
    this.#reading = this.#readPages();
    await this.#reading;
    this.#reading = null;
    if (this.#again && !this.#over.signal.aborted) {
      this.#again = false;
      await this.#read();
    }
  }

  async #readPages() {
    const { signal } = this.#over;
    const chosen = JSON.stringify(this.#chosen);
    const found = new Map();
    try {
      let cursor = null;
      do {
        const query = new URLSearchParams({ limit: String(PAGE) });
        for (const [key, value] of Object.entries(this.#chosen)) if (value) query.set(key, value);
        if (cursor) query.set("cursor", cursor);
        const { items, cursor: next } = await this.#pulse.request(`/agents?${query}`, { signal });
        for (const item of Array.isArray(items) ? items : []) {
          if (typeof item?.userId === "string") found.set(item.userId, agentOf(item, this.#agents.get(item.userId)));
        }
        cursor = typeof next === "string" && next ? next : null;
      } while (cursor && found.size < this.#limit);
      if (signal.aborted || chosen !== JSON.stringify(this.#chosen)) return;
      this.#cursor = cursor;
      this.#agents = found;
      this.#problem(null);
      this.#show();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) this.#problem("This server does not offer the list of agents.");
      else this.#problem(`The list of agents cannot be read now: ${error.message}`);
      if (!this.#agents.size) setText(this.#parts.empty, "Not available.");
    }
  }

  /** Someone came, went or changed: shown at once where it is known, then read, for what the message does not tell. */
  #changed({ userId, agentStatus, since }) {
    const agent = this.#agents.get(userId);
    if (agent && Date.parse(since) >= Date.parse(agent.since ?? 0)) {
      if (agentStatus === "offline") this.#agents.delete(userId);
      else this.#agents.set(userId, { ...agent, agentStatus, since });
      this.#show();
    }
    const isMissed = !agent && agentStatus !== "offline";
    if (isMissed || agentStatus === "offline" || this.#chosen.status) this.#soon();
  }

  #problem(text) {
    const { problem } = this.#parts;
    problem.hidden = !text;
    if (text) setText(problem, text);
  }

  // -- showing

  /** Rows stay where they are while a button is held down: a click counts only where it began. */
  #press({ target }) {
    if (!target.closest("button")) return;
    this.#isPressed = true;
    const over = new AbortController();
    const release = () => {
      over.abort();
      // After the click, which follows.
      setTimeout(() => {
        this.#isPressed = false;
        if (!this.#over.signal.aborted) this.#show();
      });
    };
    for (const each of ["pointerup", "pointercancel"]) addEventListener(each, release, { signal: over.signal });
  }

  #show() {
    if (this.#isPressed) return;
    const { rows, empty, more, summary } = this.#parts;
    const agents = [...this.#agents.values()]
      .filter(({ agentStatus }) => !this.#chosen.status || agentStatus === this.#chosen.status)
      .sort((one, other) => byName.compare(one.name, other.name) || byName.compare(one.userId, other.userId));
    const wanted = new Set(agents.map(({ userId }) => userId));
    for (const [userId, row] of this.#rows) {
      if (wanted.has(userId)) continue;
      if (row.element.contains(document.activeElement)) document.querySelector("#main").focus({ preventScroll: true });
      row.element.remove();
      this.#rows.delete(userId);
    }
    let before = null;
    for (const agent of agents) {
      let row = this.#rows.get(agent.userId);
      if (!row) this.#rows.set(agent.userId, (row = agentRow(agent.userId, this.#world, this)));
      row.update(agent);
      const place = before ? before.nextElementSibling : rows.firstElementChild;
      if (place !== row.element) rows.insertBefore(row.element, place);
      before = row.element;
    }
    const isMore = this.#cursor !== null;
    setText(
      summary,
      `${format.formatCount(agents.length)}${isMore ? " or more" : ""} ${agents.length === 1 ? "agent is" : "agents are"} signed in`,
    );
    setText(empty, "Nobody is signed in here.");
    empty.hidden = agents.length > 0;
    more.hidden = !isMore;
  }

  #tick() {
    for (const [userId, row] of this.#rows) row.tick(this.#agents.get(userId));
  }

  // -- doing

  /** Gives an agent the status that was chosen. */
  async setStatus(userId, select) {
    const wanted = select.value;
    const agent = this.#agents.get(userId);
    select.disabled = true;
    try {
      const answer = await this.#pulse.request(`/agents/${encodeURIComponent(userId)}/status`, {
        method: "PUT",
        body: { agentStatus: wanted },
      });
      // Another one, if the agent has said so since.
      const agentStatus = answer.agentStatus in format.AGENT_STATUS_NAMES ? answer.agentStatus : wanted;
      const current = this.#agents.get(userId);
      if (current) this.#agents.set(userId, { ...current, agentStatus, since: answer.since ?? current.since });
      this.#problem(null);
      this.#announce(`${agent?.name ?? userId}: ${format.AGENT_STATUS_NAMES[agentStatus]}`);
    } catch (error) {
      const gone = error.code === "agent-not-online";
      this.#problem(
        gone ? `${agent?.name ?? userId} is no longer online.` : `The status was not changed: ${error.message}`,
      );
      if (gone) this.#soon();
    } finally {
      select.disabled = false;
      this.#show();
    }
  }

  /** Asks before it ends a session. */
  askToEnd(agent, sessionId, opener) {
    const { dialog } = this.#parts;
    const close = () => {
      dialog.close();
      if (opener.isConnected) opener.focus();
    };
    const confirm = h(
      "button",
      { type: "button", class: "button danger", onclick: () => this.#end(agent, sessionId, confirm, close) },
      "End session",
    );
    dialog.replaceChildren(
      h("h2", { id: "dialog-title" }, "End this session?"),
      h(
        "p",
        {},
        name(agent.name),
        " is signed out of session ",
        h("bdi", { class: "id" }, sessionId),
        " at once, and nothing brings that session back for 24 hours.",
      ),
      h("p", { class: "problem", role: "alert", hidden: true }),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", class: "button", onclick: close, autofocus: true }, "Cancel"),
        confirm,
      ),
    );
    dialog.showModal();
  }

  async #end(agent, sessionId, button, close) {
    button.disabled = true;
    try {
      await this.#pulse.request(`/sessions/${encodeURIComponent(agent.userId)}/${encodeURIComponent(sessionId)}`, {
        method: "DELETE",
      });
      close();
      const current = this.#agents.get(agent.userId);
      if (current) {
        const sessionIds = current.sessionIds.filter((each) => each !== sessionId);
        this.#agents.set(agent.userId, { ...current, sessions: sessionIds.length, sessionIds });
        this.#show();
      }
      this.#announce(`The session of ${agent.name} has been ended.`);
      this.#soon();
    } catch (error) {
      button.disabled = false;
      const problem = this.#parts.dialog.querySelector(".problem");
      problem.hidden = false;
      setText(problem, `The session was not ended: ${error.message}`);
    }
  }
}
