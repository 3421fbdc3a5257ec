"""What is driven: a configuration of a measurement, among others that are open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from devices.imspector.calls import Calls, NoReply, said
from devices.imspector.errors import NotOpen, NotTaken

if TYPE_CHECKING:
    from devices.sources import ImspectorConfig

_POLL_S = 0.02
"""Between two questions whether something is so by now (s)."""


class Target:
    """The measurement and the configuration that are driven: those of the config, or the active.

    Parameters
    ----------
    calls
        Makes the calls.
    config
        Their names, and time limits.
    clock
        Monotonic time (s).

    Attributes
    ----------
    measurement
        Of the connection that it was found in last.
    """

    def __init__(self, calls: Calls, config: ImspectorConfig, clock: Callable[[], float]) -> None:
        self._calls, self._clock, self._limit_s = calls, clock, config.confirm_s
        self._name, self._configuration = config.measurement, config.configuration
        self.measurement: Any = None

    def find(self, application: Any) -> None:
        """Find both, and make them active; from then on they are the ones.

        Raises
        ------
        NotOpen
            The measurement is not open.
        RuntimeError
            There is no such configuration, or no connection.
        """
        if self._name is None:
            try:
                self.measurement = self._calls("measurement", application.active_measurement)
            except NoReply:
                raise
            except RuntimeError as error:
                raise NotOpen(f"no measurement is open in Imspector: {said(error)}") from None
            self._name = str(self._calls("its name", self.measurement.name))
        else:
            self.measurement = self._named(application, self._name)
        if self._configuration is not None:
            self._activate(self._configuration)
            return
        active = self._calls("configuration", self.measurement.active_configuration)
        self._configuration = str(self._calls("its name", active.name))

    def _named(self, application: Any, name: str) -> Any:
        names = list(self._calls("measurements", application.measurement_names))
        if name not in names:
            there = ", ".join(map(str, names)) or "none"
            raise NotOpen(f"measurement {name!r} is not open in Imspector; there is {there}")
        found = self._calls("measurement", lambda: application.measurement(name))
        self._calls("activate", lambda: application.activate(found))
        return found

    def _activate(self, wanted: str) -> None:
        """Activate a configuration, and wait until it is: that takes effect late."""
        measurement = self.measurement
        names = list(self._calls("configurations", measurement.configuration_names))
        if wanted not in names:
            raise RuntimeError(f"no configuration {wanted!r}; there is {', '.join(names)}")

        def active() -> str:
            return str(self._calls("active", lambda: measurement.active_configuration().name()))

        if active() == wanted:  # to activate it once more would reset how its axes are synchronized
            return
        self._calls("activate", lambda: measurement.activate(measurement.configuration(wanted)))
        until(active, wanted, f"configuration {wanted!r}", self._limit_s, self._clock)

    def look(self, application: Any, *, measurements: bool) -> Any:
        """Look whether they are the active ones.

        Parameters
        ----------
        application
            The one that is connected.
        measurements
            Whether it matters which measurement is active.

        Returns
        -------
        Any
            The configuration.

        Raises
        ------
        RuntimeError
            Others are.
        """
        if measurements:
            active = str(
                self._calls("measurement", lambda: application.active_measurement().name())
            )
            if active != self._name:
                raise RuntimeError(
                    f"measurement {active!r} became active in Imspector, and {self._name!r} was"
                )
        found = self._calls("configuration", self.measurement.active_configuration)
        name = str(self._calls("its name", found.name))
        if name != self._configuration:
            raise RuntimeError(
                f"configuration {name!r} became active in Imspector, and {self._configuration!r}"
                " was"
            )
        return found


def until(
    ask: Callable[[], Any], wanted: Any, what: str, limit_s: float, clock: Callable[[], float]
) -> None:
    """Ask until the answer is as wanted.

    Raises
    ------
    NotTaken
        It is another one when the time is over.
    """
    end = clock() + limit_s
    while (found := ask()) != wanted:
        if clock() >= end:
            raise NotTaken(f"{what}: is {found!r}")
        time.sleep(_POLL_S)
