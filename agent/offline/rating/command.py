"""`stedfast rate`: serve the rating pages of a folder until Ctrl-C."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from agent.offline.rating.book import Book
from agent.offline.rating.images import comparisons, images_in
from agent.ui.view.process import check_installed
from agent.ui.web.access import Place


def rate(
    folder: Path,
    place: Place,
    say: Callable[[str], None],
    *,
    study: Path | None,
    tester: str | None,
    seed: int,
    pixel_size_nm: float | None,
    out: Path | None,
    show: bool,
) -> None:
    """Let a tester rate the images of a folder, or compare two scores of each.

    Parameters
    ----------
    folder
        Of TIFFs with one grey image each.
    place
        Where to serve the pages.
    say
        Gets lines for a person.
    study
        CSV with two scores an image; without it, images are scored.
    tester
        Name of the tester; the user's if absent.
    seed
        Of the order.
    pixel_size_nm
        Instead of what the files say.
    out
        Folder of the tables; that of the images if absent.
    show
        Open the page in a browser, if there is a screen.

    Raises
    ------
    UserError
        Images, table or name cannot be used.
    """
    check_installed("stedfast rate")
    if study is None:
        shown = images_in(folder, pixel_size_nm, say)
    else:
        shown = comparisons(folder, study, pixel_size_nm)
    if unknown := sum(one.pixel_size_nm is None for one in shown):
        say(f"{unknown} of {len(shown)} images do not say their pixel size: --pixel-size NM does")
    target = out or folder
    book = Book(target, folder, shown, tester or getpass.getuser(), seed)
    from agent.offline.rating.site import LOG, RateSite
    from agent.ui.web.server import Links, open_in_browser

    with ExitStack() as after:
        after.callback(book.close)
        site = RateSite(book, folder, place, target / LOG)

        def begun(links: Links) -> None:
            done = len(book.answers)
            say(f"{book.tester}: {done} of {len(book.order)} answered; Ctrl-C ends, and keeps all")
            say(f"rate: {links.control}")
            after.enter_context(open_in_browser(links.control, wanted=show))

        site.serve(begun)
        say(f"{book.table}: {len(book.answers)} of {len(book.order)} answered")
        reader = "stedfast study" if book.study else "stedfast train quality CONFIG --data"
        say(f"{reader} {book.tables}")
