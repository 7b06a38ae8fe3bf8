/** The head of every page: where one is, how the connection is, and who one is; and the banner below the page. */

import { h, icon, setText } from "./dom.js";
import * as format from "./format.js";

/** Shows the header, and keeps it current. `session` is `{pulse, user, isAdmin, signOut, signIn}`. */
export function showHeader(header, banner, session, announce) {
  const { pulse, user, isAdmin } = session;
  const links = [["#/", "Facilities", "facilities"], ...(isAdmin ? [["#/agents", "Agents", "agents"]] : [])];
  const nav = h(
    "nav",
    { "aria-label": "Pages" },
    links.map(([href, text, page]) => h("a", { href, "data-page": page }, text)),
  );
  const state = connectionState(pulse);
  header.replaceChildren(
    h(
      "a",
      { class: "brand", href: "#/", "aria-label": "Facility Pulse" },
      h("img", { src: "icon.svg", alt: "", width: 28, height: 28 }),
      h("span", {}, "Facility Pulse"),
    ),
    nav,
    h("div", { class: "header-end" }, state.element, menu(session, user)),
  );
  const shown = staleBanner(banner, session);
  let said = "";
  const update = () => {
    state.update();
    shown.update();
    const text = state.text;
    if (text !== said && said) announce(text);
    said = text;
  };
  pulse.on("connection", update);
  pulse.on("stale", update);
  setInterval(() => document.visibilityState === "visible" && (state.update(), shown.update()), 1_000);
  update();
  return {
    page(current) {
      for (const link of nav.children) {
        if (link.dataset.page === current) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
  };
}

const STATES = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "No network",
  closed: "Stopped",
};

function connectionState(pulse) {
  const word = h("span", {});
  const wait = h("span", { class: "wait" });
  const element = h(
    "span",
    { class: "connection", title: "" },
    h("span", { class: "dot", "aria-hidden": "true" }),
    h("span", { class: "word" }, word, wait),
  );
  let retryAt = null;
  let last = null;
  const view = {
    element,
    text: "",
    update() {
      const connection = pulse.connection;
      const { state, retryIn, error } = connection;
      if (retryIn !== last) {
        last = retryIn;
        retryAt = retryIn === null ? null : Date.now() + retryIn;
      }
      const isStale = pulse.stale.stale;
      element.dataset.state = isStale && state === "live" ? "stale" : state;
      view.text = isStale && state === "live" ? "Outdated" : STATES[state];
      const seconds = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
      setText(word, view.text);
      setText(wait, state === "reconnecting" && seconds > 1 ? ` in ${seconds} s` : "");
      element.title = error ? `${error.message} ${error.detail}`.trim() : "";
    },
  };
  return view;
}

/** What a person must know before believing the page. */
function staleBanner(banner, { pulse, signIn }) {
  const title = h("strong", {});
  const text = h("span", {});
  const button = h("button", { type: "button", class: "button" });
  let action = null;
  button.addEventListener("click", () => action());
  banner.replaceChildren(icon("warning"), h("p", {}, title, " ", text), button);
  return {
    update() {
      const message = bannerMessage(pulse, signIn);
      document.documentElement.classList.toggle("is-stale", pulse.stale.stale);
      if (message) {
        setText(title, message.title);
        setText(text, message.text);
        button.hidden = !message.action;
        if (message.action) setText(button, message.action);
        action = message.run;
        banner.dataset.kind = message.kind;
      }
      banner.hidden = !message;
    },
  };
}

function bannerMessage(pulse, signIn) {
  const { heartbeat, error, heartbeatError } = pulse.connection;
  if ([error, heartbeatError].some((each) => each?.code === "no-token" || each?.status === 401)) {
    return {
      kind: "warning",
      title: "Your sign-in has lapsed.",
      text: "What you see is no longer updated.",
      action: "Sign in again",
      run: signIn,
    };
  }
  const { stale, since, source } = pulse.stale;
  if (stale) {
    const from = since ? ` since ${format.formatTime(since)}` : "";
    return source === "client"
      ? {
          kind: "warning",
          title: "What you see may be outdated.",
          text: `The server has not been reached${from}. This page keeps trying.`,
          action: "Try now",
          run: () => pulse.refresh(),
        }
      : {
          kind: "warning",
          title: "What you see may be outdated.",
          text: `The system is behind${from}; nobody is shown as offline until it has caught up.`,
        };
  }
  if (heartbeat === "ended") {
    return {
      kind: "notice",
      title: "Your session was ended by an administrator.",
      text: "You no longer count as present.",
      action: "Start a new session",
      run: () => pulse.restart(),
    };
  }
  return null;
}

const STATUS_KEY = "facility-pulse status";

/** What this person says they do. */
function ownStatus(panel, { pulse, claims }) {
  let chosenAt = -Infinity;
  const show = (agentStatus) => {
    const input = panel.querySelector(`input[name="my-status"][value="${CSS.escape(agentStatus)}"]`);
    if (!input) return;
    input.checked = true;
    sessionStorage.setItem(STATUS_KEY, agentStatus);
  };
  const choose = (agentStatus) => {
    chosenAt = pulse.now();
    show(agentStatus);
    pulse.setStatus(agentStatus);
  };
  pulse.on("agent", ({ userId, agentStatus, since }) => {
    // Which claim is the user id is the server's business.
    // What was on its way when the person chose must not undo the choice.
    if (Object.values(claims).includes(userId) && Date.parse(since) > chosenAt) show(agentStatus);
  });
  // Nobody tells a page that was reloaded; it says again what was chosen, and so cannot be wrong.
  const stored = sessionStorage.getItem(STATUS_KEY);
  if (stored && stored !== "available" && stored in format.AGENT_STATUS_NAMES) queueMicrotask(() => choose(stored));
  return choose;
}

function menu(session, user) {
  const { pulse, signOut } = session;
  const leave = () => {
    const left = signOut(); // from here on nothing is heard
    sessionStorage.removeItem(STATUS_KEY); // the next person in this tab says their own
    return left;
  };
  const label = user.profile?.name || user.profile?.preferred_username || user.profile?.sub || "You";
  const status = h("span", { class: "quiet" });
  const dot = h("span", { class: "presence", "aria-hidden": "true" });
  const button = h(
    "button",
    { type: "button", class: "person", popovertarget: "menu", "aria-label": `${label}: status and settings` },
    icon("person"),
    h("bdi", { class: "person-name" }, label),
    dot,
  );
  const panel = h("div", { id: "menu", class: "menu", popover: "auto" });
  panel.append(
    h("p", { class: "menu-name" }, h("bdi", {}, label), h("br"), status),
    radios("My status", "my-status", Object.entries(format.AGENT_STATUS_NAMES).slice(0, 3), "available", (value) =>
      choose(value),
    ),
    radios(
      "Theme",
      "theme",
      [
        ["system", "System"],
        ["light", "Light"],
        ["dark", "Dark"],
      ],
      storedTheme(),
      setTheme,
    ),
    h("button", { type: "button", class: "button", onclick: leave }, "Sign out"),
  );
  const names = {
    starting: "Signing in…",
    on: "You count as present",
    standby: "Present in another tab",
    failing: "Your presence is not reported",
    paused: "Paused",
    ended: "Your session was ended",
    off: "Watching only",
  };
  const update = () => {
    const { heartbeat } = pulse.connection;
    dot.dataset.state = heartbeat;
    setText(status, names[heartbeat]);
  };
  pulse.on("connection", update);
  const choose = ownStatus(panel, session);
  update();
  return h("div", { class: "person-menu" }, button, panel);
}

function radios(legend, group, choices, current, choose) {
  return h(
    "fieldset",
    { class: "choices" },
    h("legend", {}, legend),
    choices.map(([value, text]) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name: group, value, checked: value === current, onchange: () => choose(value) }),
        text,
      ),
    ),
  );
}

function storedTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("facility-pulse theme", theme);
  } catch {
    // It holds for this page alone.
  }
}
