/** One agent of the panel. */

import { h, icon, name, setText } from "./dom.js";
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
      const key = JSON.stringify([agent.name, agent.facilityIds, agent.sessions, agent.sessionIds, world.isLoaded]);
      if (key !== drawn) {
        drawn = key;
        where.replaceChildren(...places(agent.facilityIds, world));
        sessions.replaceChildren(...sessionsOf(agent, actions));
      }
      tick(agent);
    },
  };
}

function places(facilityIds, world) {
  return facilityIds.map((facilityId) => {
    const facility = world.entry(facilityId)?.facility;
    return h(
      "a",
      { class: "place", href: `#/facilities/${encodeURIComponent(facilityId)}` },
      name(facility?.name ?? facilityId),
    );
  });
}

function sessionsOf(agent, actions) {
  if (!agent.sessionIds.length) return [format.formatCount(agent.sessions)];
  return agent.sessionIds.map((sessionId) =>
    h(
      "span",
      { class: "session" },
      h("bdi", { class: "id", title: sessionId }, sessionId),
      h(
        "button",
        {
          type: "button",
          class: "button small",
          "aria-label": `End session ${sessionId} of ${agent.name}`,
          onclick: (event) => actions.askToEnd(agent, sessionId, event.currentTarget),
        },
        "End",
      ),
    ),
  );
}
