"""Mishaps that the client and the pages get over, each module by itself in the browser: clocks, losses, crowds."""

from typing import Any

import pytest_asyncio
from playwright.async_api import Page

from tests.browser.conftest import BLANK, Window


@pytest_asyncio.fixture(loop_scope="session")
async def page(window: Window) -> Page:
    page = await window.page()
    await page.goto(f"{window.stack.addresses.dashboard}/{BLANK}")
    return page


TOOLS = """
    const realTimeout = window.setTimeout;
    const wait = (milliseconds = 20) => new Promise((resolve) => realTimeout(resolve, milliseconds));
    const until = async (holds) => { for (let i = 0; i < 500 && !holds(); i++) await wait(); };
    /** Timers that only the test lets run. */
    const timers = [];
    const holdTimers = () => {
        window.setTimeout = (run, delay) => timers.push({ run, delay: Math.round(delay) });
        window.clearTimeout = (id) => { if (timers[id - 1]) timers[id - 1].isOver = true; };
    };
    const waiting = () => timers.filter(({ isOver }) => !isOver).map(({ delay }) => delay);
    const fire = (delay) => {
        const timer = timers.find((each) => !each.isOver && each.delay === delay);
        timer.isOver = true;
        timer.run();
    };
    const main = document.createElement("main");
    main.id = "main";
    document.body.append(main);
"""


async def run(page: Page, module: str, code: str) -> Any:
    """What a piece of JavaScript returns that has the module as `m` and the tools above."""
    return await page.evaluate(f"async () => {{ const m = await import('./{module}.js'); {TOOLS} {code} }}")


async def test_a_facility_that_is_removed_while_its_page_is_open_is_no_longer_shown_online(page: Page) -> None:
    shown = await run(
        page,
        "app/facility",
        """const facility = { facilityId: "f", name: "F", regionId: "r", countyId: "c", status: "online", version: 1,
            since: new Date().toISOString(), sessions: 4, lastSeen: null, reason: "heartbeat" };
        let entry = { facility }, changed, isGone = false;
        const request = async (path) => {
            if (isGone) throw Object.assign(new Error("gone"), { status: 404 });
            if (path.includes("/history")) return { items: [], uptime: 0.5 };
            return path.includes("/activity") ? { items: [] } : facility;
        };
        const world = { entry: () => entry, onchange: (listener) => ((changed = listener), () => {}),
            regionName: () => "R", countyName: () => "C", pulse: { now: Date.now, request } };
        m.showFacility(main, { world, announce() {}, isAdmin: false }, { facilityId: "f" });
        const text = () => [...main.querySelectorAll(".stats dd")].map((each) => each.textContent);
        const badge = main.querySelector(".badge");
        await until(() => text()[2] === "50.0 %");
        const before = [badge.hidden, text()[0], text()[2]];
        [entry, isGone] = [null, true];
        changed();
        await until(() => badge.hidden);
        return [before, badge.hidden, text(), main.querySelector(".now").textContent.includes("no facility")];""",
    )
    assert shown == [[False, "4", "50.0 %"], True, ["\u2013"] * 4, True]


async def test_a_facility_that_moves_out_of_sight_is_read_and_shown_on(page: Page) -> None:
    shown = await run(
        page,
        "app/facility",
        """const facility = { facilityId: "f", name: "F", regionId: "r", countyId: "c", status: "online", version: 2,
            since: new Date().toISOString(), sessions: 4, lastSeen: null, reason: "heartbeat" };
        let entry = { facility }, changed;
        let status = "online";
        const request = async (path) => (path.includes("/f/") ? { items: [] } : { ...facility, status });
        const world = { entry: () => entry, onchange: (listener) => ((changed = listener), () => {}),
            regionName: () => "R", countyName: () => "C", pulse: { now: Date.now, request } };
        m.showFacility(main, { world, announce() {}, isAdmin: false }, { facilityId: "f" });
        await wait();
        const badge = main.querySelector(".badge");
        const before = badge.textContent;
        [entry, status] = [null, "offline"];
        changed();
        await until(() => badge.textContent === "Offline");
        return [before, badge.textContent];""",
    )
    assert shown == ["Online", "Offline"]


async def test_a_token_that_a_fast_clock_takes_for_lapsed_is_used_until_it_is_refused(page: Page) -> None:
    asked = await run(
        page,
        "pulse/api",
        """const asked = [];
        const token = (n) => `x.${btoa(JSON.stringify({ iat: 0, exp: 300, n })).replace(/=+$/, "")}.y`;
        const tokens = new m.Tokens(({ fresh }) => (asked.push(fresh), token(asked.length)), () => 3_600_000);
        const first = await tokens.get();
        await tokens.get();
        await tokens.get({ refused: first });
        await tokens.get();
        return asked;""",
    )
    assert asked == [False, True]


LIVE = """
    const sockets = [];
    window.WebSocket = class {
        static OPEN = 1;
        readyState = 1;
        constructor(url) { this.url = url; sockets.push(this); }
        send() {}
        close() { this.isClosed = true; }
        open() { this.onmessage({ data: '{"type":"system","event":"connected"}' }); }
    };
    Math.random = () => 1;
    let problem = null;
    let expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const api = { call: async (path) => {
        if (path !== "/negotiate") return { body: { sequence: 1, facilities: [], regions: [] } };
        if (problem) throw problem;
        return { body: { url: "wss://x.example", regions: ["r"], expiresAt } };
    } };
    const nothing = () => {};
    const handlers = { changed: nothing, stale: nothing, alert: nothing, agent: nothing, sessionEnded: nothing,
        loaded: nothing, state: nothing, worked: nothing, failed: nothing };
    const live = (now = Date.now) => {
        const live = new m.Live(api, { regions: ["r"], details: false }, handlers, now);
        holdTimers();
        live.start();
        return live;
    };
"""


async def test_a_fast_clock_does_not_have_the_connection_renewed_at_once(page: Page) -> None:
    delays = await run(
        page,
        "pulse/live",
        LIVE
        + """live(() => Date.now() + 7_200_000);
        await wait();
        sockets[0].open();
        await wait();
        return waiting();""",
    )
    assert 1_800_000 in delays
    assert 10_000 not in delays


async def test_a_renewal_that_fails_backs_off_and_waits_as_long_as_the_server_asks(page: Page) -> None:
    added = await run(
        page,
        "pulse/live",
        LIVE
        + """live();
        await wait();
        sockets[0].open();
        await wait();
        const left = waiting().find((delay) => delay > 2_000_000);
        problem = Object.assign(new Error("busy"), { retryAfter: 0 });
        const added = [];
        let next = left;
        for (const retryAfter of [0, 0, 60_000]) {
            problem.retryAfter = retryAfter;
            fire(next);
            await wait();
            added.push(next = timers.at(-1).delay);
        }
        return [added, sockets.length, Boolean(sockets[0].isClosed)];""",
    )
    assert added == [[4_000, 8_000, 76_000], 1, False]


async def test_a_new_connection_that_dies_before_it_opens_is_tried_again(page: Page) -> None:
    counts = await run(
        page,
        "pulse/live",
        LIVE
        + """const it = live();
        await wait();
        sockets[0].open();
        await wait();
        fire(waiting().find((delay) => delay > 2_000_000));
        await wait();
        sockets[1].onclose();
        const before = [sockets.length, it.isLive];
        fire(4_000);
        await wait();
        sockets[2].open();
        const after = [sockets.length, it.isLive, sockets.map(({ isClosed }) => Boolean(isClosed))];
        it.stop();
        return [before, after, sockets[2].isClosed];""",
    )
    assert counts == [[2, True], [3, True, [True, True, False]], True]


BEATS = """
    const sent = [], states = [];
    window.fetch = async (_, { body, signal }) => {
        signal.throwIfAborted();
        sent.push(JSON.parse(body));
        const answer = { ...JSON.parse(body), intervalSeconds: 10, ttlSeconds: 30 };
        return new Response(JSON.stringify(answer), { status: 202 });
    };
    const beats = (options = {}) => new m.Beats({ address: "", sessionId: "s", facilityId: null, lock: null,
        token: async () => "t", report: ({ state }) => states.push(state), ...options });
"""


async def test_a_facility_that_a_waiting_tab_sets_holds_for_the_tab_that_beats(page: Page) -> None:
    told = await run(
        page,
        "pulse/beats",
        BEATS
        + """const tab = () => beats({ lock: "of one session", isShared: true });
        const [first, second] = [tab(), tab()];
        first.start();
        await until(() => sent.length === 1);
        second.start();
        await until(() => states.includes("standby"));
        second.setFacility("f-2");
        await until(() => sent.length === 2);
        second.pause();
        second.start();
        await until(() => states.filter((state) => state === "standby").length === 2);
        first.setFacility("f-3");
        await until(() => sent.length === 3);
        await wait(50);
        first.pause();
        await until(() => sent.length === 4);
        second.pause();
        return sent.map(({ facilityId }) => facilityId ?? null);""",
    )
    assert told == [None, "f-2", "f-3", "f-3"]


async def test_a_facility_that_is_set_during_a_pause_or_before_the_beginning_holds_for_the_tab_that_beats(
    page: Page,
) -> None:
    told = await run(
        page,
        "pulse/beats",
        BEATS
        + """const tab = (options) => beats({ lock: "of one session", isShared: true, ...options });
        const [first, second, third] = [tab(), tab(), tab({ facilityId: "f-3", tellsFacility: true })];
        const standbys = () => states.filter((state) => state === "standby").length;
        first.start();
        await until(() => sent.length === 1);
        second.start();
        await until(() => standbys() === 1);
        second.pause();
        second.setFacility("f-2");
        second.start();
        await until(() => sent.length === 2);
        await until(() => standbys() === 2);
        third.start();
        await until(() => sent.length === 3);
        second.pause();
        second.start();
        await until(() => standbys() === 4);
        await wait(50);
        for (const each of [second, third, first]) each.pause();
        return sent.map(({ facilityId }) => facilityId ?? null);""",
    )
    assert told == [None, "f-2", "f-3"]


async def test_heartbeats_go_on_after_a_pause_while_a_token_is_asked_for(page: Page) -> None:
    count = await run(
        page,
        "pulse/beats",
        BEATS
        + """let give;
        const it = beats({ token: () => new Promise((resolve) => (give = resolve)) });
        it.start();
        it.pause();
        it.start();
        give("t");
        await wait();
        give("t");
        await until(() => sent.length);
        it.pause();
        return sent.length;""",
    )
    assert count == 1


async def test_waking_from_sleep_beats_although_one_clock_stood_still(page: Page) -> None:
    delays = await run(
        page,
        "pulse/beats",
        BEATS
        + """Math.random = () => 1;
        const it = beats();
        holdTimers();
        it.start();
        await wait();
        it.wake();
        const awake = waiting();
        const now = Date.now();
        Date.now = () => now + 3_600_000;
        it.wake();
        return [awake, waiting()];""",
    )
    assert delays == [[11_000], [300]]


async def test_one_failed_call_after_a_quiet_time_is_not_an_outage(page: Page) -> None:
    told = await run(
        page,
        "pulse/reachability",
        """const told = [];
        let now = 1_000_000;
        Date.now = () => now;
        holdTimers();
        const it = new m.Reachability((stale, since) => told.push([stale, since]));
        it.worked("live");
        now += 600_000;
        it.failed("live");
        const first = told.length;
        now += 20_000;
        it.failed("live");
        now += 10_000;
        it.failed("live");
        return [first, told];""",
    )
    assert told == [0, [[True, 1_570_000]]]


async def test_a_snapshot_tells_each_facility_once_and_takes_nothing_back(page: Page) -> None:
    changed = await run(
        page,
        "pulse/region",
        """const item = (id, version, status = "online") => ({ facilityId: id, name: id, countyId: "c", status,
            since: `2026-11-21T07:00:0${version}.000Z`, sessions: 1, version, reason: "heartbeat", lastSeen: null });
        const snapshot = (sequence, ...facilities) => ({ sequence, asOf: null, stale: false, facilities });
        const status = (sequence, ...changes) => ({ type: "facility.status", sequence, changes });
        const region = new m.Region("r");
        const told = ({ changed }) => changed.map(({ facilityId, version, status }) =>
            `${facilityId} ${version} ${status}`);
        region.load(snapshot(5, item("a", 1), item("b", 1)));
        const message = told(region.receive(status(7, item("a", 9, "offline"))));
        const held = region.facilities.get("a");
        const loaded = told(region.load(snapshot(6, item("a", 1), item("b", 2))));
        region.receive(status(9, item("b", 5)));
        return [message, loaded, told(region.load(snapshot(9, item("a", 9, "offline")))),
            region.facilities.get("a") === held, region.sequence];""",
    )
    assert changed == [["a 9 offline"], ["b 2 online"], ["b 5 removed"], True, 9]


AGENTS = """
    const asked = [];
    let agentEvent;
    const since = () => new Date().toISOString();
    const request = async (path, options) => {
        asked.push(path);
        if (options?.method === "PUT") return { userId: "u", agentStatus: "away", since: since() };
        return { items: [{ userId: "u", name: "U", agentStatus: "available", since: since(), sessions: 1,
            sessionIds: ["s"], facilities: [], lastSeen: since() }], cursor: null };
    };
    const pulse = { now: Date.now, request, on: (type, listener) => {
        if (type === "agent") agentEvent = listener;
        return () => {};
    } };
    const world = { entries: [], regions: [], onchange: () => () => {}, entry: () => null, pulse };
    const destroy = m.showAgents(main, { pulse, world, announce() {}, isAdmin: true });
    await until(() => main.querySelector("select[aria-label], tbody select"));
"""


async def test_agents_who_change_all_the_time_do_not_keep_the_panel_from_reading(page: Page) -> None:
    count = await run(
        page,
        "app/agents",
        AGENTS
        + """for (let i = 0; i < 20; i++) {
            agentEvent({ userId: `u-${i}`, agentStatus: "busy", since: since() });
            await wait(100);
        }
        const count = asked.length;
        destroy();
        return count;""",
    )
    assert count >= 3


async def test_the_panel_shows_the_status_that_the_server_answered_with(page: Page) -> None:
    value = await run(
        page,
        "app/agents",
        AGENTS
        + """const select = main.querySelector("tbody select");
        select.value = "busy";
        select.dispatchEvent(new Event("change", { bubbles: true }));
        await until(() => asked.some((path) => path.endsWith("/status")));
        await until(() => !select.disabled);
        destroy();
        return select.value;""",
    )
    assert value == "away"


async def test_alerts_of_a_whole_region_are_arranged_once(page: Page) -> None:
    result = await run(
        page,
        "app/alerts",
        """const count = 300;
        const { get, set } = Object.getOwnPropertyDescriptor(HTMLElement.prototype, "hidden");
        let sets = 0;
        Object.defineProperty(HTMLElement.prototype, "hidden", { get, set(value) {
            sets += 1;
            set.call(this, value);
        } });
        let alert;
        const pulse = { now: Date.now, on: (type, listener) => { if (type === "alert") alert = listener; } };
        m.showAlerts(main, { pulse, world: { pulse, entry: () => null, onchange() {} } });
        const since = new Date().toISOString();
        for (let i = 0; i < count; i++) alert({ facilityId: `f-${i}`, state: "offline", since });
        const shown = () => [...main.querySelectorAll("li")].filter((each) => !each.hidden).length;
        await until(() => shown() === 3);
        return [sets < 3 * count, shown(), main.querySelector("button.small").textContent];""",
    )
    assert result == [True, 3, "Show 297 more"]


async def test_a_wrong_option_is_refused_and_an_undefined_one_is_left_out(page: Page) -> None:
    told = await run(
        page,
        "pulse",
        """const right = { api: "..", getToken: () => new Promise(() => {}), regions: false, heartbeat: false };
        const refused = (options) => {
            try {
                m.connect({ ...right, ...options }).close();
                return "";
            } catch (error) {
                return error instanceof TypeError ? error.message.split(" ")[1] : String(error);
            }
        };
        const wrong = [{ api: "" }, { getToken: "t" }, { regions: "r-1" }, { regions: [1] }, { regions: ["a b"] },
            { details: 1 }, { heartbeat: "yes" }, { facilityId: "a b" }, { facilityId: 7 }, { tabs: "both" },
            { sessionId: "" }];
        const names = Object.keys({ regions: 0, details: 0, heartbeat: 0, facilityId: 0, tabs: 0, sessionId: 0 });
        const unset = Object.fromEntries(names.map((name) => [name, undefined]));
        const fine = [unset, { regions: ["r-1"] }, { regions: true, facilityId: "f-1", sessionId: "s" }];
        const begun = m.connect({ ...right, ...unset, regions: false });
        await until(() => begun.sessionId);
        const sessionId = begun.sessionId;
        begun.close();
        return [wrong.map(refused), fine.map(refused), typeof sessionId];""",
    )
    names = "api getToken regions regions regions details heartbeat facilityId facilityId tabs sessionId"
    assert told == [names.split(), ["", "", ""], "string"]


async def test_a_token_that_never_comes_is_given_up(page: Page) -> None:
    told = await run(
        page,
        "pulse/api",
        """let asked = 0;
        const tokens = new m.Tokens(() => (++asked === 1 ? new Promise(() => {}) : "t"));
        holdTimers();
        const first = tokens.get().catch(({ code, message }) => [code, message]);
        await wait();
        fire(15_000);
        return [await first, await tokens.get(), waiting()];""",
    )
    assert told == [["no-token", "No access token: getToken did not answer within 15 s"], "t", []]
