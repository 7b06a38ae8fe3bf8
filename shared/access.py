"""What a caller may see: admins everything, others the regions of their facilities."""

from shared.http import Call
from shared.problems import ForbiddenError, NotFoundError
from shared.registry.directory_cache import DirectoryView, FacilityEntry


async def regions_of_caller(call: Call) -> frozenset[str]:
    """Returns the regions that the caller may see. Raises what the directory cache raises."""
    if call.caller.is_admin:
        return frozenset((await call.services.directory.view()).regions)
    return await call.services.directory.regions_of(call.caller.user_id)


async def visible_region(call: Call) -> tuple[DirectoryView, str]:
    """Returns the directory and the path's region. Raises NotFoundError or ForbiddenError."""
    view, region_id = await call.services.directory.view(), call.region_id()
    if region_id not in view.regions:
        raise NotFoundError(f"There is no region {region_id}.")
    await _check(call, region_id)
    return view, region_id


async def visible_facility(call: Call) -> FacilityEntry:
    """Returns the path's facility. Raises NotFoundError, or ForbiddenError if it lies outside the caller's regions."""
    facility_id = call.facility_id()
    entry = (await call.services.directory.view()).facility(facility_id)
    if entry is None:
        raise NotFoundError(f"There is no facility {facility_id}.")
    await _check(call, entry.region_id)
    return entry


def own_user_id(call: Call) -> str:
    """Returns the path's user. Raises NotFoundError; ForbiddenError for a caller who is neither them nor an admin."""
    user_id = call.user_id()
    check_own(call, user_id)
    return user_id


def check_own(call: Call, user_id: str) -> None:
    """Raises ForbiddenError for a caller who is neither this user nor an admin."""
    if not call.caller.is_admin and user_id != call.caller.user_id:
        raise ForbiddenError("This concerns another user; only they and administrators may do it.")


async def recorded_facility(call: Call) -> str:
    """Returns the path's facility, looked up in the core database: calls that need SQL alone work without Redis.

    Raises NotFoundError, ForbiddenError, or DependencyUnavailableError("sql").
    """
    facility_id, core = call.facility_id(), call.services.core_reader
    place = await core.thread.answer(core.find_facility, facility_id, call.caller.user_id)
    if place is None:
        raise NotFoundError(f"There is no facility {facility_id}.")
    if not (call.caller.is_admin or place.member):
        raise ForbiddenError("This is in a region that is not one of yours.")
    return facility_id


async def recorded_region(call: Call) -> tuple[str, ...]:
    """Returns the facilities of the path's region, looked up in the core database as `recorded_facility` does.

    Raises NotFoundError, ForbiddenError, or DependencyUnavailableError("sql").
    """
    region_id, core = call.region_id(), call.services.core_reader
    region = await core.thread.answer(core.find_region, region_id, call.caller.user_id)
    if region is None:
        raise NotFoundError(f"There is no region {region_id}.")
    if not (call.caller.is_admin or region.member):
        raise ForbiddenError("This is a region that is not one of yours.")
    return region.facility_ids


async def _check(call: Call, region_id: str) -> None:
    if not call.caller.is_admin and region_id not in await call.services.directory.regions_of(call.caller.user_id):
        raise ForbiddenError("This is in a region that is not one of yours.")
