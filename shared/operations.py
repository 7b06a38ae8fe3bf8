"""What each HTTP function declares of itself: the one source of its checks and of its place in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from shared.answers import Answer
from shared.problems import ProblemError
from shared.requests import Body, Query


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API.

    `any_ids`: what its path names need not be an id, and nothing is "not found".
    `answers` maps a status to the model of its body, None for an empty one. `problems` are those that the call answers
    with beyond what follows from the rest. An operation without answers is not part of the API that is described.
    """

    name: str
    method: str | None
    summary: str
    anonymous: bool = False
    role: str | None = None
    body: type[Body] | None = None
    body_optional: bool = False
    query: type[Query] | None = None
    any_ids: bool = False
    answers: Mapping[int, type[Answer] | None] | None = None
    problems: Sequence[type[ProblemError]] = ()

    def expect(self, part: str, model: type[BaseModel], declared: type[BaseModel] | None) -> None:
        """Raises RuntimeError if the handler reads another model than it has declared."""
        if self.answers is not None and model is not declared:
            raise RuntimeError(f"{self.name} reads its {part} as {model.__name__}, which it has not declared")
