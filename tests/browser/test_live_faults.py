"""Mishaps that following regions gets over: wrong clocks, lost connections, failed calls, overtaking messages."""

from playwright.async_api import Page

from tests.browser.modules import run

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
