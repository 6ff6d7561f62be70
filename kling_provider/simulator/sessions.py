"""Sessions: what identify-face found in a video, and what is marked in one for multi-elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kling_provider.simulator.asked import Clip
from kling_provider.simulator.refusals import Refusal

SessionKind = Literal["faces", "selection"]
#: A point on a frame, as shares of its width and height.
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A face of a video, and when it is seen, in milliseconds."""

    id: str
    start: int
    end: int


@dataclass(slots=True)
class Session:
    """One session.

    :param id: its id.
    :param kind: what it is for.
    :param account: whose it is.
    :param clip: the video.
    :param begun: epoch seconds.
    :param faces: that were found.
    :param points: frame -> what is marked on it, in order.
    """

    id: str
    kind: SessionKind
    account: str
    clip: Clip
    begun: float
    faces: tuple[Face, ...] = ()
    points: dict[int, list[Point]] = field(default_factory=dict)


class Sessions:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[str, Session] = {}

    def begin(self, session: Session) -> Session:
        """Remember a session."""
        self._all[session.id] = session
        return session

    def find(self, name: object, kind: SessionKind, account: str, now: float, lives: float) -> Session:
        """The session with this id.

        :param kind: what it has to be for.
        :param lives: seconds a session lives.
        :raises Refusal: 1201, if this account has no such session, or not any more.
        """
        session = self._all.get(str(name))
        if session is None or session.kind != kind or session.account != account:
            raise Refusal(1201, "session_id is invalid: no such session")
        if now - session.begun >= lives:
            raise Refusal(1201, "session_id is invalid: the session has expired")
        return session
