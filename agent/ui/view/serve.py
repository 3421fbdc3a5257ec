"""`stedfast view`: the pages of a run that is running or over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.config.reading import UserError
from agent.ui.view.process import ViewProcess, check_installed
from agent.ui.web.access import Place


def view(folder: Path, place: Place, say: Callable[[str], None], *, show: bool) -> None:
    """Serve a run's pages until Ctrl-C.

    Parameters
    ----------
    folder
        The run's; its session may begin later.
    place
        Where to serve them.
    say
        Gets lines for a person.
    show
        Open them in a browser, if there is a screen.

    Raises
    ------
    UserError
        There is no such folder, or it may not be served there.
    """
    from agent.record.folder import check_folder, read_config

    check_installed("stedfast view")
    check_folder(folder)
    if any(folder.iterdir()):
        read_config(folder)  # says what is wrong with it
    from agent.ui.view.site import RunSite
    from agent.ui.web.server import Links, open_in_browser

    site = RunSite(folder, place)

    def begun(links: Links) -> None:
        say_links(say, links.control, links.read, place)
        say("Ctrl-C ends the view; the run does not notice")
        shown.enter_context(open_in_browser(links.control, wanted=show))

    with ExitStack() as shown:
        site.serve(begun)


@contextmanager
def viewed(folder: Path, place: Place, say: Callable[[str], None], *, show: bool) -> Iterator[None]:
    """Serve a run's pages from another process, from now until long after its end.

    A view that cannot be started is reported, and the run continues without it.
    """
    with ExitStack() as shown:
        try:
            links = ViewProcess(folder, place).links()
        except (UserError, OSError) as error:
            say(f"{error}; the run continues without a page")
        else:
            from agent.ui.web.server import open_in_browser

            say_links(say, links["control"], links["read"], place)
            shown.enter_context(open_in_browser(links["control"], wanted=show))
        yield


def say_links(say: Callable[[str], None], control: str, read: str, place: Place) -> None:
    """Print where the pages are, and what each link may do."""
    say(f"view: {control}")
    say(f"view, to look only: {read}")
    if not place.local and place.certificate is None:
        say("without TLS: both links' tokens can be read by anyone who can listen on this network")
