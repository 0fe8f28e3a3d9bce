"""Labels become train, val and test: groups never cross, the test is even per class, and what is decided stays.

1. Pictures that hang together form groups (`groups.py`); a group goes to one side as a whole.
2. Every class gives the test at most `max_test_share` of its pictures. The test takes the same number m from every class as
   far as that allows: the largest m with sum(min(m, limit)) <= test share of all labeled pictures ("water-filling").
3. Rare classes choose first. A class with fewer than three groups cannot be tested: it only trains.
4. val is filled the same way, but with each class's natural share. The rest trains; what has no label is unlabeled.
5. Only pictures that were chosen at random are tested on. Anything else in a test group is out.
6. A val or test picture never moves, except out, when it loses its label or is dropped. Train never becomes val or test.

Chance enters only through sha256(seed, id): row order, dtype and class names do not matter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from curate.dataset.groups import Groups, make_groups
from schemas.tables import SPLITS
from schemas.task import Split

RANDOM = "random"  # the only chosen_by that val and test accept
IN_TEST, IN_VAL = "in a test group", "in a val group"
WITHDRAWN, DROPPED, GOLD, BRIDGE = "label withdrawn", "dropped", "gold", "bridge"


@dataclass(frozen=True)
class Cut:
    """A split with what a person should know about it."""

    rows: pd.DataFrame  # SPLITS
    classes: pd.DataFrame  # by class: labeled, train, val, test, quota, short (test pictures missing), note
    groups: Groups
    moved: dict[str, int]  # what happened to rows that were decided before
    not_random: int  # labeled pictures that may only train


def split(
    pictures: pd.DataFrame,
    labels: pd.DataFrame,
    clusters: pd.DataFrame,
    appearances: pd.DataFrame,
    before: pd.DataFrame,
    *,
    policy: Split,
    classes: Sequence[str],
    task: str,
    now: datetime,
    gold: Collection[str] = (),
    seed: int | None = None,
) -> Cut:
    """Where every picture belongs; the same input and seed give the same rows whatever their order.

    Args:
        pictures, labels, clusters, appearances: as their tables say; a picture without a row of LABELS is unlabeled.
        before: SPLITS as they stand; test and val of it stay, train of it stays train.
        gold: pictures whose label workers are measured by; they are out.
        seed: decides what is new; default: the policy's.
    """
    seed = policy.seed if seed is None else seed
    rows = _rows(pictures, labels, before, gold)
    decided = rows[rows["was"].isin(["train", "val", "test"]) & rows["label"].notna() & rows["why_out"].isna()]
    groups = make_groups(pictures, clusters, appearances, dict(zip(decided["image_id"], decided["was"], strict=True)))
    rows["group_id"] = rows["image_id"].map(groups.group_id)
    bridge = rows["why_out"].isna() & rows["image_id"].isin(groups.bridges)
    rows["why_out"] = rows["why_out"].mask(bridge, BRIDGE)
    # A group keeps the seed that ranked it first, so that another seed decides only what is new.
    of_group = rows.groupby("group_id")["seed"].transform("min").fillna(seed).astype("int64")
    rows["order"] = [_order(s, group) for s, group in zip(of_group, rows["group_id"], strict=True)]
    rows["seed"] = rows["seed"].fillna(seed).astype("int64")

    fill = _Fill(rows, classes, policy, seed)
    fill.fill("test", fill.test_quota)
    fill.fill("val", fill.val_quota)
    rows = _decide(rows, fill.side, fill.taken)
    rows["label_rank"] = _label_ranks(rows)
    rows["unlabeled_rank"] = _unlabeled_ranks(rows)
    return Cut(
        rows=_splits(rows, before, task, now),
        classes=fill.table(rows),
        groups=groups,
        moved=_moved(rows),
        not_random=int((rows["label"].notna() & rows["why_out"].isna() & (rows["chosen_by"] != RANDOM)).sum()),
    )


def quotas(labeled: Sequence[int], testable: Sequence[bool], policy: Split) -> list[int]:
    """How many test pictures each class should give, from its number of labeled pictures.

    A class that can be tested gives at least one, at most max_test_share of its pictures.
    """
    limits = [
        max(1, int(n * policy.max_test_share + 1e-9)) if can else 0 for n, can in zip(labeled, testable, strict=True)
    ]
    can_be = [limit for limit in limits if limit]
    if policy.test == 0 or not can_be:
        return [0] * len(limits)
    if policy.balance == "natural":
        return [
            min(limit, max(1, round(n * policy.test))) if limit else 0 for n, limit in zip(labeled, limits, strict=True)
        ]
    room = policy.test * sum(labeled) + 1e-9
    # One picture per class is taken even where that is more than the share asked for: no class goes untested.
    level = max(1, _water_level(can_be, room))
    if policy.balance == "strict":
        level = max(1, min(min(can_be), int(room / len(can_be))))
    return [min(level, limit) for limit in limits]


def _water_level(limits: Sequence[int], room: float) -> int:
    """The largest m with sum(min(m, limit)) <= room."""
    low, high = 0, max(limits)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(middle, limit) for limit in limits) <= room else (low, middle - 1)
    return low


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _rows(pictures: pd.DataFrame, labels: pd.DataFrame, before: pd.DataFrame, gold: Collection[str]) -> pd.DataFrame:
    """One row per picture in image_id order: label, chosen_by, where it was, why it cannot take part."""
    rows = pictures[["image_id", "dropped"]].sort_values("image_id", ignore_index=True)
    known = labels.set_index("image_id")
    earlier = before.set_index("image_id")
    for name in ("label", "chosen_by"):
        rows[name] = rows["image_id"].map(known[name]).astype("str")
    rows["was"] = rows["image_id"].map(earlier["split"]).astype("str")
    rows["was_because"] = rows["image_id"].map(earlier["split_reason"]).astype("str")
    rows["seed"] = rows["image_id"].map(earlier["seed"]).astype("float64")
    gone = rows["label"].isna() & (rows["was"].isin(["val", "test"]) | (rows["was_because"] == WITHDRAWN))
    why = pd.Series(None, index=rows.index, dtype="str").mask(gone, WITHDRAWN)
    why = why.mask(rows["image_id"].isin(set(gold)), GOLD)
    rows["why_out"] = why.mask(rows["dropped"].notna(), DROPPED)
    return rows


class _Fill:
    """Takes whole groups for test and val until every class has its quota. Remembers each group's side."""

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], policy: Split, seed: int) -> None:
        self.policy = policy
        self.classes = list(classes)
        use = rows[rows["label"].notna() & rows["why_out"].isna()]
        self.side = _sides_before(use)
        self.taken: set[str] = set()  # groups that this run gives to test or val
        self.order = dict(zip(use["group_id"], use["order"], strict=True))

        pairs = use[["group_id", "label"]].drop_duplicates()
        self.classes_in: dict[str, list[str]] = {}
        for group, key in zip(pairs["group_id"], pairs["label"], strict=True):
            self.classes_in.setdefault(group, []).append(key)
        in_groups = _tally(pairs["label"])
        can_train = pairs[~pairs["group_id"].map(self.side).isin(["val", "test"])]
        self.can_train = _tally(can_train["label"])  # groups that are not val or test, by class
        self.have = {name: _tally(_decided(use, self.side, name)["label"]) for name in ("val", "test")}

        self.counts: dict[str, dict[str, int]] = {}  # undecided group -> class -> pictures that may be tested on
        fresh = use[(use["chosen_by"] == RANDOM) & ~use["group_id"].isin(self.side)]
        for group, key in zip(fresh["group_id"], fresh["label"], strict=True):
            of_group = self.counts.setdefault(group, {})
            of_group[key] = of_group.get(key, 0) + 1

        self.labeled = _tally(use["label"])
        self.testable = {key: in_groups.get(key, 0) >= 3 for key in self.classes}
        n = [self.labeled.get(key, 0) for key in self.classes]
        can = [self.testable[key] for key in self.classes]
        self.test_quota = dict(zip(self.classes, quotas(n, can, policy), strict=True))
        self.val_quota = {
            key: max(1, round(policy.val * count)) if policy.val and self.testable[key] else 0
            for key, count in zip(self.classes, n, strict=True)
        }
        # Rare first; equal counts by a hash that knows pictures, not names, so that renaming classes changes nothing else.
        first = use.assign(hashed=[_order(seed, i) for i in use["image_id"]]).groupby("label")["hashed"].min().to_dict()
        self.rare_first = sorted(
            (key for key in self.classes if self.testable[key]), key=lambda key: (self.labeled[key], first[key])
        )

    def fill(self, name: str, quota: dict[str, int]) -> None:
        """Give `name` (test, then val) groups in the order of their hash wherever no class goes over its quota."""
        groups_of: dict[str, list[str]] = {}
        for group in sorted(self.counts, key=lambda group: self.order[group]):
            for key in self.counts[group]:
                groups_of.setdefault(key, []).append(group)
        have = self.have[name]
        for key in self.rare_first:
            for group in groups_of.get(key, []):
                if have.get(key, 0) >= quota[key]:
                    break
                if self._may_take(group, name) and not self._over(group, name, quota):
                    self._take(group, name)
        for key in self.rare_first:  # no class goes without: the group that goes over the least
            if quota[key] and not have.get(key, 0):
                fits = [group for group in groups_of.get(key, []) if self._may_take(group, name)]
                if fits:
                    self._take(min(fits, key=lambda group: (self._over(group, name, quota), self.order[group])), name)

    def _may_take(self, group: str, name: str) -> bool:
        """True when the group is undecided and every class in it can spare it: one stays for train, one for val."""
        if group in self.side:
            return False
        val_too = name == "test" and self.policy.val > 0
        return all(
            self.testable.get(key, False) and self.can_train[key] > 1 + (val_too and not self.have["val"].get(key))
            for key in self.classes_in[group]
        )

    def _over(self, group: str, name: str, quota: dict[str, int]) -> int:
        """How many pictures more than the quotas there would be."""
        have = self.have[name]
        return sum(max(0, have.get(key, 0) + n - quota[key]) for key, n in self.counts[group].items())

    def _take(self, group: str, name: str) -> None:
        self.side[group] = name
        self.taken.add(group)
        for key, n in self.counts[group].items():
            self.have[name][key] = self.have[name].get(key, 0) + n
        for key in self.classes_in[group]:
            self.can_train[key] -= 1

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """By class: how many labeled, train, val, test; the test's quota; what is missing; a note on rare classes."""
        found = Counter(zip(rows["label"], rows["split"], strict=True))
        columns = {name: [found[key, name] for key in self.classes] for name in ("train", "val", "test")}
        table = pd.DataFrame(columns, index=pd.Index(self.classes, name="class"))
        table.insert(0, "labeled", [self.labeled.get(key, 0) for key in self.classes])
        table["quota"] = [self.test_quota[key] for key in self.classes]
        # Short of what the other classes give, not of a quota that was lowered because the class is rare.
        wanted = table["quota"] if self.policy.balance == "natural" else table["quota"].max()
        table["short"] = (wanted - table["test"]).clip(lower=0)
        table["note"] = ""
        table.loc[[not self.testable[key] for key in self.classes], "note"] = "fewer than 3 groups: trains only"
        table.loc[table["labeled"] == 0, "note"] = "no labels"
        return table


def _sides_before(use: pd.DataFrame) -> dict[str, str]:
    """Group to side, where a row of it was decided before: test wins over val, val over train."""
    side: dict[str, str] = {}
    for name in ("train", "val", "test"):
        side.update(dict.fromkeys(use.loc[use["was"] == name, "group_id"], name))
    return side


def _decided(use: pd.DataFrame, side: dict[str, str], name: str) -> pd.DataFrame:
    """Rows that were val or test before and stay it."""
    return use[(use["was"] == name) & (use["group_id"].map(side) == name)]


def _tally(values: pd.Series) -> dict[str, int]:
    return {str(key): int(n) for key, n in values.value_counts().items()}


def _decide(rows: pd.DataFrame, side: dict[str, str], taken: Collection[str]) -> pd.DataFrame:
    """The split and reason of every row, from its group's side; `taken` are the groups that just got theirs."""
    group = rows["group_id"].map(side).astype("str")
    labeled, was, why = rows["label"].notna(), rows["was"], rows["why_out"]
    fresh = rows["group_id"].isin(set(taken)) & (rows["chosen_by"] == RANDOM)
    tested = labeled & (fresh | (was == group))  # in a group decided before, only what was tested before
    where = pd.Series("unlabeled", index=rows.index, dtype="str").mask(labeled, "train")
    for name, reason in (("test", IN_TEST), ("val", IN_VAL)):
        inside = group == name
        where = where.mask(inside & tested, name).mask(inside & ~tested, "out")
        why = why.mask(why.isna() & inside & ~tested, reason)
    where = where.mask(why.notna(), "out")
    return rows.assign(split=where, split_reason=why)


def _label_ranks(rows: pd.DataFrame) -> pd.Series:
    """Rank in [0, 1) of each train row within its class: groups in hash order, the middle of the group's place.

    The first group of every class has rank 0, so that even the smallest fraction has every class.
    """
    train = rows[rows["split"] == "train"].sort_values(["label", "order", "image_id"])
    size = train.groupby(["label", "order"])["image_id"].transform("size")
    place = train.groupby("label").cumcount()
    start = place.groupby([train["label"], train["order"]]).transform("min")
    of_class = train.groupby("label")["image_id"].transform("size")
    rank = ((start + size / 2) / of_class).where(start > 0, 0.0)
    return rank.reindex(rows.index)


def _unlabeled_ranks(rows: pd.DataFrame) -> pd.Series:
    """Rank in [0, 1) of each unlabeled row by its own hash: any prefix is a random part."""
    pool = rows[rows["split"] == "unlabeled"]
    hashed = [_order(s, image_id) for s, image_id in zip(pool["seed"], pool["image_id"], strict=True)]
    order = pd.Series(hashed, index=pool.index, dtype="str").sort_values()
    return pd.Series(np.arange(len(order)) / max(len(order), 1), index=order.index).reindex(rows.index)


def _splits(rows: pd.DataFrame, before: pd.DataFrame, task: str, now: datetime) -> pd.DataFrame:
    """The rows as SPLITS; unchanged ones keep since, and rows of pictures that are gone stay as they are."""
    same = (rows["split"] == rows["was"]) & (rows["split_reason"].fillna("") == rows["was_because"].fillna(""))
    earlier = before.set_index("image_id").reindex(rows["image_id"]).set_axis(rows.index)
    since = earlier["since"].where(same, pd.Timestamp(now))
    made = SPLITS.check(rows.assign(task=task, since=since)[SPLITS.names])
    gone = before[pd.Index(rows["image_id"]).get_indexer(pd.Index(before["image_id"])) < 0]
    return pd.concat([made, gone], ignore_index=True) if len(gone) else made


def _moved(rows: pd.DataFrame) -> dict[str, int]:
    """What happened to rows that were train, val or test before: `test -> out (label withdrawn)` and how many."""
    was = rows[rows["was"].isin(["train", "val", "test"]) & (rows["split"] != rows["was"])]
    reason = was["split_reason"].map(" ({})".format, na_action="ignore").fillna("")
    said = was["was"] + " -> " + was["split"] + reason
    return {str(key): int(n) for key, n in said.value_counts().sort_index().items()}
