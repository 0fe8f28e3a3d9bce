from __future__ import annotations

import pytest

from train.estimate import in_words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (7.4, "7 seconds"),
        (75, "75 seconds"),
        (130, "2 minutes"),
        (3600 * 2, "2.0 hours"),
        (5000, "83 minutes"),
        (47 * 3600, "47.0 hours"),
        (8090.8 * 3600, "337 days"),
    ],
)
def test_a_time_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
