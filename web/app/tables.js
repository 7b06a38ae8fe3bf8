/** The tables of a facility's page: they say in full what its drawings show. */

import { statusBadge } from "./badge.js";
import { h } from "./dom.js";
import * as format from "./format.js";

const SHOWN_CHANGES = 25;

/** What changed, newest first. */
export function changesTable(changes, now, range) {
  if (!changes.length) return h("p", { class: "quiet" }, `${range}: nothing has changed.`);
  const rows = changes.slice(0, SHOWN_CHANGES).map(({ status, reason, start, end }) => {
    const badge = statusBadge();
    badge.update(status);
    return h(
      "tr",
      {},
      h(
        "td",
        {},
        h(
          "time",
          { datetime: new Date(start).toISOString(), title: format.formatFull(start) },
          format.formatTime(start, now),
        ),
      ),
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
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `Changes, ${range.toLowerCase()}` },
      h("table", {}, tableHead(["Time", "Status", "Lasted", "Reason"]), h("tbody", {}, rows)),
    ),
    more > 0 && h("p", { class: "quiet" }, `and ${format.formatCount(more)} earlier ones`),
  );
}

/** The figures of the plots, and those that have none. */
export function activityTable(hours, granularity) {
  const figure = (value) => h("td", { class: "number" }, value === undefined ? "–" : format.formatCount(value));
  const ended = ({ sessionsEnded: { expired = 0, left = 0, ended = 0 } = {} }) => expired + left + ended;
  const rows = hours.map(([start, item]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, format.formatTime(start)),
      figure(item.onlineSeconds === undefined ? undefined : Math.round(item.onlineSeconds)),
      figure(item.uniqueUsers),
      figure(item.heartbeats),
      figure(item.sessionsStarted),
      figure(item.sessionsEnded === undefined ? undefined : ended(item)),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Activity by ${granularity}` },
    h(
      "table",
      {},
      tableHead([
        granularity === "hour" ? "Hour" : "Minute",
        "Seconds online",
        "People",
        "Heartbeats",
        "Sessions started",
        "Sessions ended",
      ]),
      h("tbody", {}, rows),
    ),
  );
}

function tableHead(titles) {
  return h(
    "thead",
    {},
    h(
      "tr",
      {},
      titles.map((title) => h("th", { scope: "col" }, title)),
    ),
  );
}
