"""How much may still come: the limits of a crawl, and those that the rules of a site set for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from curate.collect.plan import Plan, SiteRules


class Quota:
    """Pages and listings counted against their limits. New pages wait once a limit is reached; what is known goes on."""

    def __init__(self, plan: Plan, known: Iterable[tuple[str, int, int]] = (), listings: int = 0) -> None:
        """`known`: of each host the pages fetched and the listings that are there; `listings`: of all hosts together."""
        self._plan = plan
        self.listings = listings
        self.limited = plan.max_listings is not None  # whether a listing fewer than thought lets others go on
        self._held = 0  # listings that are read and not yet written
        self._pages: Counter[str] = Counter()  # by site
        self._of_site: Counter[str] = Counter()  # listings by site
        self._held_of_site: Counter[str] = Counter()
        for host, pages, there in known:
            self._pages[self._rules(host).site] += pages
            self._of_site[self._rules(host).site] += there

    def _rules(self, host: str) -> SiteRules:
        rules = self._plan.rules(f"http://{host}/")
        self.limited = self.limited or rules.max_listings is not None
        return rules

    def full(self, host: str) -> bool:
        """Whether new pages of a host have to wait."""
        rules = self._rules(host)
        return (
            _reached(self._plan.max_listings, self.listings + self._held)
            or _reached(rules.max_pages, self._pages[rules.site])
            or _reached(rules.max_listings, self._of_site[rules.site] + self._held_of_site[rules.site])
        )

    def takes_page(self, host: str) -> None:
        """Count a new page that is fetched."""
        self._pages[self._rules(host).site] += 1

    def hold(self, host: str, listings: int) -> None:
        """Count a listing that is read and not yet written (1), or no longer (-1)."""
        self._held += listings
        self._held_of_site[self._rules(host).site] += listings

    def takes_listing(self, host: str) -> bool:
        """Whether a new listing may be written; it is counted then."""
        rules = self._rules(host)
        if _reached(self._plan.max_listings, self.listings) or _reached(rules.max_listings, self._of_site[rules.site]):
            return False
        self.listings += 1
        self._of_site[rules.site] += 1
        return True


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit
