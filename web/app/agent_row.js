/** One agent of the panel. */

import { arrange, h, icon, name, setText } from "./dom.js";
import * as format from "./format.js";

export const STATUSES = ["available", "busy", "away"];

/** An agent as it is shown; what a message has told since the answer was made stays. */
export function agentOf(item, held) {
  const agent = {
    userId: item.userId,
    name: typeof item.name === "string" && item.name.trim() ? item.name : item.userId,
    facilityIds: (Array.isArray(item.facilityIds) ? item.facilityIds : []).map(String),
    sessions: Number.isSafeInteger(item.sessions) ? item.sessions : 0,
    sessionIds: (Array.isArray(item.sessionIds) ? item.sessionIds : []).map(String),
    agentStatus: STATUSES.includes(item.agentStatus) ? item.agentStatus : "available",
    since: item.since ?? null,
    lastSeen: item.lastSeen ?? null,
  };
  const isAhead = held?.since && Date.parse(held.since) > Date.parse(agent.since ?? 0);
  return isAhead ? { ...agent, agentStatus: held.agentStatus, since: held.since } : agent;
}

/** A row of the table; `actions` has `setStatus(userId, select)` and `askToEnd(agent, sessionId, opener)`. */
export function agentRow(userId, world, actions) {
  const label = h("bdi", { class: "name" });
  const where = h("td", { "data-title": "Facilities" });
  const select = h(
    "select",
    { class: "agent-status", onchange: () => actions.setStatus(userId, select) },
    STATUSES.map((each) => h("option", { value: each }, format.AGENT_STATUS_NAMES[each])),
  );
  const since = h("td", { class: "number", "data-title": "Since" });
  const seen = h("td", { class: "number", "data-title": "Last seen" });
  const sessions = h("td", { "data-title": "Sessions" });
  const element = h(
    "tr",
    { "data-user": userId },
    h("th", { scope: "row" }, label, h("span", { class: "id quiet" }, userId)),
    where,
    h("td", { "data-title": "Status" }, h("span", { class: "select" }, select, icon("chevron"))),
    since,
    seen,
    sessions,
  );
  const tick = (agent) => {
    if (!agent) return;
    setText(since, agent.since ? format.formatDuration(world.pulse.now() - Date.parse(agent.since)) : "–");
    setText(seen, agent.lastSeen ? format.formatTime(agent.lastSeen) : "–");
  };
  let drawn = "";
  const count = h("span", {});
  const known = new Map();
  const showSessions = (agent) => {
    for (const sessionId of known.keys()) if (!agent.sessionIds.includes(sessionId)) known.delete(sessionId);
    for (const sessionId of agent.sessionIds) {
      if (!known.has(sessionId)) known.set(sessionId, sessionItem(sessionId, actions));
      known.get(sessionId).update(agent);
    }
    setText(count, format.formatCount(agent.sessions));
    // In the order in which they came, so that a new one moves none that somebody is about to click.
    arrange(sessions, known.size ? [...known.values()].map(({ element }) => element) : [count]);
  };
  return {
    element,
    tick,
    update: (agent) => {
      setText(label, agent.name);
      label.title = agent.name;
      select.setAttribute("aria-label", `Status of ${agent.name}`);
      if (!select.disabled) select.value = agent.agentStatus;
      element.dataset.status = agent.agentStatus;
      since.title = agent.since ? format.formatFull(agent.since) : "";
      const names = agent.facilityIds.map((facilityId) => world.entry(facilityId)?.facility.name ?? facilityId);
      const key = JSON.stringify([agent.facilityIds, names]);
      if (key !== drawn) {
        drawn = key;
        where.replaceChildren(...agent.facilityIds.map((facilityId, index) => place(facilityId, names[index])));
      }
      showSessions(agent);
      tick(agent);
    },
  };
}

function place(facilityId, text) {
  return h("a", { class: "place", href: `#/facilities/${encodeURIComponent(facilityId)}` }, name(text));
}

/** One session with its button, which stays the same element however the agent changes. */
function sessionItem(sessionId, actions) {
  let agent = null;
  const button = h(
    "button",
    { type: "button", class: "button small", onclick: () => actions.askToEnd(agent, sessionId, button) },
    "End",
  );
  const element = h("span", { class: "session" }, h("bdi", { class: "id", title: sessionId }, sessionId), button);
  return {
    element,
    update(now) {
      agent = now;
      const label = `End session ${sessionId} of ${agent.name}`;
      if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    },
  };
}
