"""Mishaps that the dashboard's pages get over: what is shown goes, changes all the time, or comes in crowds."""

from playwright.async_api import Page

from tests.browser.modules import run


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
