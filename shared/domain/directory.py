"""Who belongs where: regions hold counties, counties hold facilities, users belong to facilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Region:
    """A region; the unit in which changes are announced."""

    region_id: str
    name: str


@dataclass(frozen=True, slots=True)
class County:
    """A county of a region."""

    county_id: str
    region_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Facility:
    """A facility of a county."""

    facility_id: str
    county_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The whole directory as read from the core database. Mappings are keyed by id."""

    regions: Mapping[str, Region] = field(default_factory=dict)
    counties: Mapping[str, County] = field(default_factory=dict)
    facilities: Mapping[str, Facility] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    """User id to name."""
    facilities_of_user: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def region_of(self, facility_id: str) -> str | None:
        """Returns the id of a facility's region, or None for an unknown facility."""
        facility = self.facilities.get(facility_id)
        return None if facility is None else self.counties[facility.county_id].region_id
