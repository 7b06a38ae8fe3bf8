"""What a number of sessions needs of each service, computed from measured figures and stated assumptions."""

import math
from dataclasses import dataclass, replace

from tools.figures import Figures

SECONDS_PER_MONTH = 730 * 3600

REDIS_GB = {
    "Balanced_B0": 0.5,
    "Balanced_B1": 1,
    "Balanced_B3": 3,
    "Balanced_B5": 6,
    "Balanced_B10": 12,
    "Balanced_B20": 24,
}
PREMIUM_VCPUS = {"EP1": 1, "EP2": 2, "EP3": 4}
PREMIUM_GB = {"EP1": 3.5, "EP2": 7, "EP3": 14}
WEB_PUBSUB_UNITS = (1, 2, 5, 10, 20, 50, 100)
MAX_PARTITIONS = 32
MAX_THROUGHPUT_UNITS = 40


@dataclass(frozen=True)
class Assumptions:
    """What is not measured here; change one and see what it does."""

    heartbeat_interval: float = 30.0
    gateway: bool = False
    """Heartbeats arrive in batches of 1,000 through POST /heartbeats instead of one by one."""
    azure_overhead: float = 2.0
    """Processor time in Azure over that of the local host: the real host is another process, reached by gRPC."""
    app_load: float = 0.7
    redis_load: float = 0.5
    redis_usable: float = 0.8
    """Azure Managed Redis keeps a fifth of its memory for itself."""
    redis_memory_factor: float = 2.0
    """Room for activity counters, streams, fragmentation and the copy that persistence makes."""
    sessions_per_facility: int = 20
    facilities_per_region: int = 1_000
    transitions_per_facility_day: float = 4.0
    dashboards_share: float = 0.02
    """Sessions whose browser also watches a region."""
    packing_wait: float = 0.01
    log_gb_day: float = 0.3
    log_gb_day_per_instance: float = 0.1


@dataclass(frozen=True)
class Size:
    """What one number of sessions needs. Rates are per second."""

    sessions: int
    heartbeats: float
    vcpus: float
    premium_sku: str
    instances: int
    events: float
    throughput_units: int
    partitions: int
    redis_gb: float
    redis_load: float
    redis_sku: str
    cells: int
    connections: int
    messages_day: float
    web_pubsub_units: int
    sql_sku: str


def size(sessions: int, figures: Figures, assumed: Assumptions) -> Size:
    """Returns what `sessions` sessions need; above one Redis they are split over several cells of equal size."""
    heartbeats = sessions / assumed.heartbeat_interval
    redis_core = heartbeats * figures["redisMicrosPerHeartbeat"] / 1e6
    gigabytes = sessions * figures["redisBytesPerSession"] * assumed.redis_memory_factor / 1e9
    cells = max(
        1,
        math.ceil(redis_core / assumed.redis_load),
        math.ceil(gigabytes / (REDIS_GB["Balanced_B20"] * assumed.redis_usable)),
    )
    if cells > 1:
        return replace(size(math.ceil(sessions / cells), figures, assumed), cells=cells)

    cost = figures["appMicrosPerGatewayHeartbeat" if assumed.gateway else "appMicrosPerPost"]
    vcpus = (heartbeats * cost / 1e6 + figures["idleCores"]) * assumed.azure_overhead / assumed.app_load
    sku = next((name for name, each in PREMIUM_VCPUS.items() if vcpus <= 10 * each), "EP3")
    # Two, so that one may fail, as soon as more than a trial depends on it.
    least = 1 if sessions <= 1_000 else 2
    instances = max(least, math.ceil(vcpus / PREMIUM_VCPUS[sku]))
    events = _events(heartbeats, instances * PREMIUM_VCPUS[sku], assumed)
    throughput = heartbeats * figures["bytesPerHeartbeat"] + events * figures["bytesPerEvent"]
    partitions = _partitions(instances)
    connections = math.ceil(sessions * assumed.dashboards_share)
    return Size(
        sessions=sessions,
        heartbeats=heartbeats,
        vcpus=vcpus,
        premium_sku=sku,
        instances=instances,
        events=events + partitions,  # a canary a second and partition
        throughput_units=max(1, math.ceil(throughput / 1e6), math.ceil((events + partitions) / 1_000)),
        partitions=partitions,
        redis_gb=gigabytes,
        redis_load=redis_core,
        redis_sku=next(name for name, room in REDIS_GB.items() if gigabytes <= room * assumed.redis_usable),
        cells=1,
        connections=connections,
        messages_day=_messages_a_day(sessions, connections, assumed),
        web_pubsub_units=next((units for units in WEB_PUBSUB_UNITS if connections <= units * 1_000), 100),
        sql_sku="S0" if sessions <= 10_000 else "S2" if sessions <= 200_000 else "S3",
    )


def _events(heartbeats: float, processes: int, assumed: Assumptions) -> float:
    if assumed.gateway:
        return heartbeats / 1_000
    # Each process packs what it accepts within the wait; a lone heartbeat is an event of its own.
    packed = max(1.0, heartbeats / processes * assumed.packing_wait)
    return heartbeats / packed


def _partitions(instances: int) -> int:
    wanted = max(4, instances)
    return min(MAX_PARTITIONS, 1 << math.ceil(math.log2(wanted)))


def _messages_a_day(sessions: int, connections: int, assumed: Assumptions) -> float:
    facilities = sessions / assumed.sessions_per_facility
    regions = max(1.0, facilities / assumed.facilities_per_region)
    # Every change of a region goes to everybody who watches it.
    return facilities * assumed.transitions_per_facility_day * connections / regions
