"""What requests name by id: videos, sounds, elements, voices and sessions of the account that asks."""

from __future__ import annotations

from typing import Any

from kling_provider.simulator.accounts import Account
from kling_provider.simulator.asked import Clip, Heard
from kling_provider.simulator.film import Film
from kling_provider.simulator.inputs import read_clip, read_sound
from kling_provider.simulator.presets import PRESETS
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.results.planned import Result
from kling_provider.simulator.sessions import Session, SessionKind
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.tune import Tune


class Archive:
    """The simulated Kling's memory, as far as one account sees it.

    :param simulation: what is remembered.
    :param account: who asks.
    """

    def __init__(self, simulation: Simulation, account: Account):
        self._simulation = simulation
        self._account = account

    def clip(self, video_id: object, field: str) -> Clip:
        """A video that was made here.

        :raises Refusal: 1201 for an id of no video of this account, or of one that is over.
        """
        task, result = self._made(video_id, "videos", field)
        film = result.planned.files[".mp4"]
        assert isinstance(film, Film)
        return Clip(result.id, film.seconds, film.size, is_seen=True, film=film, task=task)

    def clip_at(self, url: str, field: str) -> Clip:
        """A video at an address, which may be one of ours.

        :raises Refusal: 1201 for one on this machine that cannot be fetched or is no video.
        """
        simulation = self._simulation
        own = simulation.own_file(url)
        if own is None:
            return read_clip(url, field)
        recipe = simulation.recipe(own[0])
        if not isinstance(recipe, Film) or not simulation.may_fetch(*own):
            raise Refusal(1201, f"Failed to download {field}")
        return Clip(url, recipe.seconds, recipe.size, is_seen=True, film=recipe)

    def sound(self, audio_id: object, field: str) -> Heard:
        """A sound that was made here.

        :raises Refusal: 1201 for an id of no sound of this account, or of one that is over.
        """
        _, result = self._made(audio_id, "audios", field)
        return Heard(result.planned.seconds or 0.0, is_heard=True)

    def sound_at(self, url: str, field: str, limits: Any) -> Heard:
        """A sound at an address, which may be one of ours."""
        simulation = self._simulation
        own = simulation.own_file(url)
        if own is None:
            return read_sound(url, field, limits)[1]
        recipe = simulation.recipe(own[0])
        if not isinstance(recipe, Film | Tune) or not simulation.may_fetch(*own):
            raise Refusal(1201, f"Failed to download {field}")
        return Heard(recipe.seconds, is_heard=True)

    def refuse_gone(self, name: object, list_name: str, field: str) -> None:
        """See that an element or a voice may be used. One that nobody knows may be Kling's own.

        :raises Refusal: 1201 for one that was deleted, is of another account, or is something else.
        """
        with self._simulation.lock:
            if str(name) in PRESETS:
                return
            made = self._simulation.world.result(str(name))
            if made is not None:
                self.own(name, list_name, field)

    def own(self, name: object, list_name: str, field: str) -> Result:
        """An element or a voice of this account.

        :raises Refusal: 1201 for anything else, and for one that was deleted.
        """
        with self._simulation.lock:
            world = self._simulation.world
            task, result = world.maker(str(name)), world.result(str(name))
            if (
                task is None
                or result is None
                or task.account != self._account.name
                or result.planned.list_name != list_name
                or not task.has_result
                or result.id in world.deleted
            ):
                raise Refusal(1201, f"{field} is invalid: {str(name)[:40]} does not exist")
            return result

    def session(self, name: object, kind: SessionKind) -> Session:
        """A session of this account.

        :raises Refusal: 1201 for one that does not exist or is over.
        """
        simulation = self._simulation
        with simulation.lock:
            lives = simulation.settings.session_seconds
            return simulation.world.sessions.find(name, kind, self._account.name, simulation.now, lives)

    def _made(self, name: object, list_name: str, field: str) -> tuple[SimTask, Result]:
        simulation = self._simulation
        with simulation.lock:
            simulation.world.advance(simulation.now)
            task, result = simulation.world.maker(str(name)), simulation.world.result(str(name))
            if (
                task is None
                or result is None
                or task.account != self._account.name
                or result.planned.list_name != list_name
                or not task.has_result
            ):
                raise Refusal(1201, f"{field} is invalid: {str(name)[:40]} does not exist")
            if simulation.now >= simulation.kept_until(task):
                raise Refusal(1201, f"{field} is invalid: {result.id} is older than 30 days")
            return task, result
