/** The dashboard: signs in, connects, and shows the page that the address names after `#`. */

import { claimsOf } from "../pulse/api.js";
import { connect } from "../pulse.js";
import { showAgents } from "./agents.js";
import { showAlerts } from "./alerts.js";
import { Authentication } from "./auth.js";
import { h } from "./dom.js";
import { showFacilities } from "./facilities.js";
import { showFacility } from "./facility.js";
import { showHeader } from "./header.js";
import { World } from "./world.js";

const ADMIN = "presence.admin";
const main = document.querySelector("#main");
const api = new URL(document.querySelector("meta[name=facility-pulse-api]").content, document.baseURI).href;
const page = new URL(".", location.href).href;

const ROUTES = [
  [/^#?\/?$/, showFacilities, "facilities", () => ({})],
  [/^#\/regions\/([^/]+)$/, showFacilities, "facilities", (found) => ({ regionId: decoded(found[1]) })],
  [/^#\/facilities\/([^/]+)$/, showFacility, "facilities", (found) => ({ facilityId: decoded(found[1]) })],
  [/^#\/agents$/, showAgents, "agents", () => ({})],
];

// The part of the address after # names pages here, so the skip link must not change it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

start().catch((error) => {
  reportError(error);
  refuse("This page could not be started", String(error?.message ?? error), "Try again", () => location.reload());
});

async function start() {
  const config = await readConfig();
  if (!config) return;
  const authentication = new Authentication(config, page);
  let user;
  try {
    user = await authentication.user();
  } catch (error) {
    return refuse("You are not signed in", error.message, "Sign in", () => signIn(authentication));
  }
  if (!user && new URLSearchParams(location.search).has("signed-out")) {
    history.replaceState(null, "", location.pathname);
    return refuse("You are signed out", "See you.", "Sign in", () => signIn(authentication));
  }
  if (!user) return signIn(authentication);
  run(authentication, user);
}

async function readConfig() {
  try {
    const response = await fetch(`${api.replace(/\/+$/, "")}/config`);
    const config = await response.json();
    if (!response.ok || !config.issuer || !config.clientId) throw new Error(`It answered ${response.status}.`);
    return config;
  } catch (error) {
    refuse("The server cannot be reached", error.message, "Try again", () => location.reload());
    return null;
  }
}

async function signIn(authentication) {
  refuse("Signing in", "You are taken to the sign-in page…");
  try {
    await authentication.signIn();
  } catch (error) {
    refuse("The sign-in page cannot be reached", error.message, "Try again", () => signIn(authentication));
  }
}

function run(authentication, user) {
  // `details` keeps sessions and last seen current too, which messages do not tell.
  const pulse = connect({ api, getToken: authentication.getToken, details: true });
  const claims = claimsOf(user.access_token);
  const { roles } = claims;
  const isAdmin = Array.isArray(roles) && roles.includes(ADMIN);
  const session = {
    pulse,
    user,
    claims,
    isAdmin,
    world: new World(pulse),
    announce,
    signIn: () => signIn(authentication),
    signOut: () => {
      pulse.close();
      return authentication.signOut();
    },
  };
  const header = showHeader(document.querySelector("#header"), document.querySelector("#banner"), session, announce);
  showAlerts(document.querySelector("#alerts"), session);
  let leave = () => {};
  const show = ({ isFirst = false } = {}) => {
    leave();
    leave = () => {};
    const [route, found] = match(location.hash);
    if (!route) {
      header.page(null);
      return refuse(
        "There is no such page",
        "The address may be mistyped.",
        "All facilities",
        () => (location.hash = "#/"),
      );
    }
    const [, view, current, parameters] = route;
    header.page(current);
    leave = view(main, session, parameters(found));
    if (isFirst) return;
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => show());
  show({ isFirst: true });
}

function match(hash) {
  for (const route of ROUTES) {
    const found = route[0].exec(hash);
    if (found) return [route, found];
  }
  return [null, null];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A page that says why there is nothing else, and what to do. */
function refuse(title, text, action = null, run = null) {
  document.title = `${title} · Facility Pulse`;
  main.replaceChildren(
    h(
      "section",
      { class: "notice" },
      h("img", { src: "icon.svg", alt: "", width: 48, height: 48 }),
      h("h1", {}, title),
      h("p", {}, text),
      action && h("button", { type: "button", class: "button primary", onclick: run }, action),
    ),
  );
}

let saying = 0;

/** Has a screen reader say something, once it has finished what it says. */
function announce(text) {
  clearTimeout(saying);
  saying = setTimeout(() => (document.querySelector("#announcer").textContent = text), 400);
}
