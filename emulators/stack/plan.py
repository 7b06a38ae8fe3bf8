"""What a stack consists of: its parts with their ports, the product's settings, and the addresses it publishes."""

import contextlib
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulators.stack import guard
from emulators.stack.addresses import Addresses, read_stack_file
from emulators.stack.part import PartSpec
from emulators.stack.ports import HOST, Port, PortTakenError, choose_port
from emulators.stack.probes import redis_answers
from emulators.stack.redis_server import find_redis_server, redis_command
from emulators.stack.settings import DEFAULTS, given, machine_environment, number

CHECKOUT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 15.0  # a host lets running invocations end, for at most 10 s
DIRECTORY_COPY = "directory"
EVENT_HUBS_KEY = "RootManageSharedAccessKey"
EMULATOR_SECRET = "bG9jYWwtZW11bGF0b3JzLW9ubHktbm90LWEtc2VjcmV0IQ=="  # noqa: S105 - known to everybody by design

# After what time a host that died is replaced; as host.json and Azure have it unless set.
TAKE_OVER_OPTIONS = {
    "HOST_PARTITION_OWNERSHIP_SECONDS": "--partition-ownership-seconds",
    "HOST_SINGLETON_LEASE_SECONDS": "--singleton-lease-seconds",
    "HOST_SINGLETON_RECOVERY_SECONDS": "--singleton-recovery-seconds",
}
SETTING_OF_ADDRESS = {
    "eventHubs": "EventHubConnection",
    "eventHubName": "EVENT_HUB_NAME",
    "redis": "Redis",
    "webPubSub": "WebPubSub",
    "webPubSubHub": "WEB_PUBSUB_HUB",
    "sqlMonitor": "SqlMonitor",
    "sqlCore": "SqlCore",
    "identity": "AUTH_ISSUER",
}


@dataclass(frozen=True)
class Plan:
    """The parts of a stack, its addresses and the environment of every process of the product."""

    parts: tuple[PartSpec, ...]
    external: Mapping[str, str]  # what runs elsewhere, by the name of the part that it replaces
    addresses: Addresses
    environment: Mapping[str, str]
    ports: tuple[Port, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the function app hosts."""
        return tuple(part.name for part in self.parts if part.name.startswith("host-"))

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the other parts."""
        return tuple(part.name for part in self.parts if not part.name.startswith("host-"))

    def release(self) -> None:
        """Gives the ports up."""
        for port in self.ports:
            port.release()


def forget_claims(storage: str) -> None:
    """Drops the claims of hosts that were killed: whoever starts a stack knows that no host of it lives.

    In Azure they would have lapsed over such a stop; here the next start would wait for that.
    """
    if Path(storage).exists():
        with contextlib.closing(sqlite3.connect(storage)) as database:
            database.executescript("DELETE FROM leases; DELETE FROM ownerships;")


def environment_of(directory: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a product process beside the stack in `directory`, or beside its databases if it is down."""
    given_ones = {name: value for name, value in settings.items() if value}
    stack = read_stack_file(directory) or {}
    running = {setting: stack[key] for key, setting in SETTING_OF_ADDRESS.items() if key in stack}
    return machine_environment() | DEFAULTS | sqlite_settings(directory) | given_ones | running


def sqlite_settings(directory: Path) -> dict[str, str]:
    """The stack's own databases."""
    return {
        "SqlMonitor": f"sqlite:///{directory / 'monitor.db'}",
        "SqlCore": f"sqlite:///{directory / 'core.db'}",
    }


class Planner:
    """Draws up the Plan of a stack in `directory` from the caller's settings.

    Raises PortTakenError, ProgramMissingError or ValueError when a setting cannot be followed.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str], hosts: int) -> None:
        self._directory = directory
        self._settings = settings
        self._host_count = hosts
        self._machine = machine_environment()
        self._parts: list[PartSpec] = []
        self._external: dict[str, str] = {}
        self._ports: list[Port] = []

    def plan(self) -> Plan:
        """The whole plan."""
        try:
            return self._plan()
        except BaseException:
            for port in self._ports:
                port.release()
            raise

    def _plan(self) -> Plan:
        redis = self._redis()
        event_hubs = self._event_hubs()
        web_pubsub = self._web_pubsub()
        identity = self._identity()
        settings = {
            **DEFAULTS,
            "EventHubConnection": event_hubs,
            "Redis": redis,
            "WebPubSub": web_pubsub,
            "AUTH_ISSUER": identity,
            **sqlite_settings(self._directory),
        }
        # A caller that names a service by its identity form (`Redis__redisHostName`) must not also get ours.
        for connection in ("EventHubConnection", "Redis", "WebPubSub"):
            if not self._settings.get(connection) and given(self._settings, connection):
                del settings[connection]
        environment = self._machine | settings | {name: value for name, value in self._settings.items() if value}
        apis = self._hosts(environment)
        return Plan(
            parts=tuple(self._parts),
            external=self._external,
            addresses=Addresses(
                api=apis[0],
                dashboard=f"{apis[0]}/dashboard",
                identity=identity,
                event_hubs=event_hubs,
                event_hub_name=environment["EVENT_HUB_NAME"],
                redis=redis,
                web_pubsub=web_pubsub,
                web_pubsub_hub=environment["WEB_PUBSUB_HUB"],
                sql_monitor=environment["SqlMonitor"],
                sql_core=environment["SqlCore"],
                hosts=apis,
            ),
            environment=environment,
            ports=tuple(self._ports),
        )

    def _redis(self) -> str:
        if elsewhere := self._elsewhere("redis", "Redis"):
            return elsewhere
        port = self._port("REDIS_PORT")
        server = redis_command(find_redis_server(self._settings), port, self._data("redis"))
        self._parts.append(
            PartSpec(
                name="redis",
                # By path and isolated (-I -S): the guard imports nothing of ours and starts in milliseconds.
                command=(sys.executable, "-I", "-S", guard.__file__, "--", *server),
                environment=self._machine,
                address=f"{HOST}:{port}",
                is_ready=lambda: redis_answers(HOST, port),
                directory=CHECKOUT,
            )
        )
        return f"{HOST}:{port}"

    def _event_hubs(self) -> str:
        if elsewhere := self._elsewhere("event-hubs", "EventHubConnection"):
            fields = [field for field in elsewhere.split(";") if field and not field.startswith("EntityPath=")]
            return ";".join(fields) + (";" if "=" in elsewhere else "")
        group = self._setting("EVENT_HUB_CONSUMER_GROUP")
        groups = () if group == DEFAULTS["EVENT_HUB_CONSUMER_GROUP"] else ("--consumer-group", group)
        hub = ("--hub", self._setting("EVENT_HUB_NAME"), *groups)
        access = ("--key-name", EVENT_HUBS_KEY, "--key", EMULATOR_SECRET, "--data-dir", self._data("event-hubs"))
        port = self._emulator("event-hubs", "event_hubs", "EVENT_HUBS_PORT", "sb", *hub, *access)
        return (
            f"Endpoint=sb://{HOST}:{port};SharedAccessKeyName={EVENT_HUBS_KEY};SharedAccessKey={EMULATOR_SECRET};"
            "UseDevelopmentEmulator=true;"
        )

    def _web_pubsub(self) -> str:
        if elsewhere := self._elsewhere("web-pubsub", "WebPubSub"):
            return elsewhere
        port = self._emulator("web-pubsub", "web_pubsub", "WEB_PUBSUB_PORT", "http", "--access-key", EMULATOR_SECRET)
        return f"Endpoint=http://{HOST}:{port};AccessKey={EMULATOR_SECRET};Version=1.0;"

    def _identity(self) -> str:
        if elsewhere := self._elsewhere("identity", "AUTH_ISSUER"):
            return elsewhere.rstrip("/")
        client = ("--audience", self._setting("AUTH_AUDIENCE"), "--client-id", self._setting("AUTH_CLIENT_ID"))
        people = ("--users", str(self._directory / DIRECTORY_COPY / "users.csv"), "--data-dir", self._data("identity"))
        port = self._emulator("identity", "identity", "IDENTITY_PORT", "http", *client, *people)
        return f"http://{HOST}:{port}"

    def _hosts(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        storage = f"{self._data('host-storage')}/storage.db"
        forget_claims(storage)
        shared = ["--storage", storage]
        for setting, option in TAKE_OVER_OPTIONS.items():
            if setting in environment:
                shared += [option, environment[setting]]
        apis = []
        for index in range(1, self._host_count + 1):
            port = self._port("API_PORT") if index == 1 else self._port(None)
            apis.append(f"http://{HOST}:{port}/api")
            arguments = ("--app", str(CHECKOUT), "--port", str(port), "--instance-id", f"host-{index}", *shared)
            self._parts.append(self._python(f"host-{index}", "emulators.host", arguments, apis[-1], environment))
        return tuple(apis)

    def _setting(self, name: str) -> str:
        return self._settings.get(name) or DEFAULTS[name]

    def _data(self, name: str) -> str:
        """A folder that a part keeps its data in, from one start to the next."""
        folder = self._directory / name
        folder.mkdir(exist_ok=True)
        return str(folder)

    def _elsewhere(self, part: str, connection: str) -> str | None:
        """The caller's own service in the place of a part, if there is one."""
        if value := given(self._settings, connection):
            self._external[part] = connection
        return value

    def _emulator(self, name: str, module: str, port_setting: str, scheme: str, *arguments: str) -> int:
        port = self._port(port_setting)
        address = f"{scheme}://{HOST}:{port}"
        command = ("--port", str(port), *arguments)
        self._parts.append(self._python(name, f"emulators.{module}", command, address, self._machine))
        return port

    def _python(
        self, name: str, module: str, arguments: tuple[str, ...], address: str, environment: Mapping[str, str]
    ) -> PartSpec:
        return PartSpec(
            name=name,
            command=(sys.executable, "-m", module, "--exit-with-parent", *arguments),
            environment=environment,
            address=address,
            stop_seconds=STOP_SECONDS,
            directory=CHECKOUT,
        )

    def _port(self, setting: str | None) -> int:
        try:
            port = choose_port(number(self._settings, setting) if setting else None)
        except PortTakenError as error:
            raise PortTakenError(f"{setting}: {error}" if setting else str(error)) from None
        self._ports.append(port)
        return port.number
