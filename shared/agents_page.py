"""`GET /agents`: live agents with what the directory and their sessions tell of them, a page at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from shared.cursors import Cursors
from shared.domain.agent import Agent
from shared.domain.instants import to_iso, to_iso_or_none
from shared.registry.agents import Agents, Position, position_of
from shared.registry.directory_cache import DirectoryCache, DirectoryView
from shared.registry.registry import Registry
from shared.requests import AgentsQuery

_READ = 1_000
_MOST_READ = 20_000
"""Agents looked at for one page: a filter that few match may give a short page, or an empty one, with a cursor."""


async def read_page(
    agents: Agents, registry: Registry, directory: DirectoryCache, cursors: Cursors, query: AgentsQuery
) -> dict[str, object]:
    """Returns the page that a query asks for.

    Raises InvalidRequestError for a cursor of another list or of other filters, DependencyUnavailableError("redis") or
    DirectoryMissingError.
    """
    listing = _listing(query)
    position: Position | None = Position(*cursors.open(listing, query.cursor)) if query.cursor else Position()
    view = await directory.view()
    found: list[Agent] = []
    facilities: dict[str, tuple[str, ...]] = {}
    looked_at = 0
    while position is not None and len(found) < query.limit and looked_at < _MOST_READ:
        batch, position = await agents.read(position, _READ)
        looked_at += len(batch)
        facilities |= await directory.facilities_of([agent.user_id for agent in batch])
        matching = [agent for agent in batch if agent.presences and _matches(agent, facilities, view, query)]
        taken = matching[: query.limit - len(found)]
        if len(taken) < len(matching):
            position = position_of(taken[-1].user_id)
        found += taken
    items = await _items(found, facilities, view, registry, directory)
    cursor = cursors.seal(listing, *astuple(position)) if position else None
    return {"items": items, "cursor": cursor}


def _listing(query: AgentsQuery) -> str:
    """Names what a cursor belongs to: with other filters it would pass over agents. No id or status has a slash."""
    return "/".join(["agents", query.region_id or "", query.facility_id or "", query.status or ""])


def _matches(agent: Agent, facilities: Mapping[str, Sequence[str]], view: DirectoryView, query: AgentsQuery) -> bool:
    theirs = facilities[agent.user_id]
    if query.status is not None and agent.status != query.status:
        return False
    if query.facility_id is not None and query.facility_id not in theirs:
        return False
    entries = map(view.facility, theirs)
    return query.region_id is None or any(entry is not None and entry.region_id == query.region_id for entry in entries)


async def _items(
    found: Sequence[Agent],
    facilities: Mapping[str, Sequence[str]],
    view: DirectoryView,
    registry: Registry,
    directory: DirectoryCache,
) -> list[dict[str, object]]:
    names = await directory.names_of([agent.user_id for agent in found])
    places = {
        (facility_id, agent.user_id)
        for agent in found
        for facility_id in (view.facility_of_checksum(checksum) for checksum, _ in agent.presences)
        if facility_id is not None
    }
    heard = await registry.heard(sorted(places))
    return [
        {
            "userId": agent.user_id,
            "name": names.get(agent.user_id),
            "facilityIds": list(facilities[agent.user_id]),
            "sessions": agent.sessions,
            "sessionIds": sorted(heard[agent.user_id].session_ids) if agent.user_id in heard else [],
            "agentStatus": agent.status,
            "since": to_iso(agent.since),
            "lastSeen": to_iso_or_none(heard[agent.user_id].at if agent.user_id in heard else None),
        }
        for agent in found
    ]
