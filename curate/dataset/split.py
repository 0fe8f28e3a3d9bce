"""Labels become train, val and test: groups never cross, the test is even per class, and what is decided stays.

1. Pictures that hang together form groups (`groups.py`); a group goes to one side as a whole.
2. Every class gives the test at most `max_test_share` of its pictures. The test takes the same number m from every class as
   far as that allows: the largest m with sum(min(m, limit)) <= test share of all labeled pictures ("water-filling").
3. Rare classes choose first. A class with fewer than three groups cannot be tested: it only trains.
4. val is filled the same way, but with each class's natural share. The rest trains; what has no label is unlabeled.
5. Only pictures that were chosen at random are tested on. Anything else in a test group is out. On request a class that is
   still short is filled with pictures that were chosen for a reason (`filled`).
6. A picture keeps its side for good, even while it is out or has no label: what was tested on never trains, what trained is
   never tested on. When two sides turn out to look the same, test stays, then val, and the other goes out.
7. A given split (`fixed`) wins over all of this but a missing label: what it names as test is the whole test, and the rest
   is decided around it.

Chance enters only through sha256(seed, id): row order, dtype and class names do not matter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
FIXED, FIXED_OUT, FIXED_WAITS = "fixed", "fixed out", "fixed, no label"  # given by a file
FILLED = "filled"  # tested on though it was not chosen at random
SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class Cut:
    """A split with what a person should know about it."""

    rows: pd.DataFrame  # SPLITS
    classes: pd.DataFrame  # by class: labeled, train, val, test, quota, short (test pictures missing), note
    groups: Groups
    moved: dict[str, int]  # what happened to rows that were decided before
    not_random: int  # labeled pictures that may only train because they were chosen for a reason
    unknown: int  # labeled pictures that may only train because nobody knows how they were chosen (imported labels)


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
    fixed: Mapping[str, str] | None = None,
) -> Cut:
    """Where every picture belongs; the same input and seed give the same rows whatever their order.

    Args:
        pictures, labels, clusters, appearances: as their tables say; a picture without a row of LABELS is unlabeled.
        before: SPLITS as they stand; what has a side there keeps it.
        gold: pictures whose label workers are measured by; they are out.
        seed: decides what is new; default: the policy's.
        fixed: image_id to train, val, test or out, as a published split gives them; check them with `crossing` first.
    """
    seed = policy.seed if seed is None else seed
    rows = _rows(pictures, labels, before, gold, fixed or {})
    decided = rows[rows["side"].notna()]
    groups = make_groups(pictures, clusters, appearances, dict(zip(decided["image_id"], decided["side"], strict=True)))
    rows["group_id"] = _lasting(rows["image_id"].map(groups.group_id), rows)
    bridge = rows["why_out"].isna() & rows["image_id"].isin(groups.bridges)
    rows["why_out"] = rows["why_out"].mask(bridge, BRIDGE)
    # A group keeps the seed that ranked it first, so that another seed decides only what is new.
    of_group = rows.groupby("group_id")["seed"].transform("min").fillna(seed).astype("int64")
    rows["order"] = _hashed(of_group[rows["label"].notna()], rows["group_id"]).reindex(rows.index)
    rows["seed"] = rows["seed"].fillna(seed).astype("int64")

    fill = _Fill(rows, classes, policy, seed)
    for name, quota in (("test", fill.test_quota), ("val", fill.val_quota)):
        if name not in fill.closed:
            fill.fill(name, quota)
    rows = _decide(rows, fill)
    rows["label_rank"] = _label_ranks(rows)
    rows["unlabeled_rank"] = _unlabeled_ranks(rows)
    only_trains = rows["label"].notna() & rows["why_out"].isna() & (rows["chosen_by"] != RANDOM)
    only_trains &= ~rows["split"].isin(["val", "test"])
    return Cut(
        rows=_splits(rows, before, task, now),
        classes=fill.table(rows),
        groups=groups,
        moved=_moved(rows),
        not_random=int((only_trains & rows["chosen_by"].notna()).sum()),
        unknown=int((only_trains & rows["chosen_by"].isna()).sum()),
    )


def crossing(rows: pd.DataFrame, fixed: Mapping[str, str]) -> pd.DataFrame:
    """The groups that a given split puts on several sides: image_id, group_id, side of each of their given pictures.

    Args:
        rows: image_id, group_id of every picture.
        fixed: as `split` takes it; pictures that it leaves out of the data set (`out`) cross nothing.
    """
    given = rows[["image_id", "group_id"]].assign(side=rows["image_id"].map(dict(fixed)).astype("str"))
    given = given[given["side"].isin(SIDES)]
    several = given.groupby("group_id")["side"].transform("nunique") > 1
    return given[several].sort_values(["group_id", "side", "image_id"], ignore_index=True)


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


def _hashed(seeds: pd.Series, names: pd.Series) -> pd.Series:
    """The hash of each name under its seed, for the rows that have a seed."""
    pairs = zip(seeds.tolist(), names[seeds.index].tolist(), strict=True)
    return pd.Series([_order(seed, name) for seed, name in pairs], index=seeds.index, dtype=object)


def _rows(
    pictures: pd.DataFrame,
    labels: pd.DataFrame,
    before: pd.DataFrame,
    gold: Collection[str],
    fixed: Mapping[str, str],
) -> pd.DataFrame:
    """One row per picture in image_id order: label, chosen_by, where it was, its side, why it cannot take part."""
    rows = pictures[["image_id", "dropped"]].sort_values("image_id", ignore_index=True)
    for name, at in (("label", _found(labels, rows)), ("chosen_by", _found(labels, rows))):
        rows[name] = _taken(labels[name], at)
    at = _found(before, rows)
    rows["was"], rows["was_because"] = _taken(before["split"], at), _taken(before["split_reason"], at)
    rows["was_group"], side = _taken(before["group_id"], at), _taken(before["side"], at)
    rows["seed"] = np.where(at >= 0, before["seed"].to_numpy(dtype=float)[at], np.nan) if len(before) else np.nan
    side = side.fillna(rows["was"].where(rows["was"].isin(SIDES)))  # tables of before there was a column for it

    given = rows["image_id"].map(dict(fixed)).astype("str")
    given = given.fillna(side.where(rows["was_because"].isin([FIXED, FIXED_WAITS])))
    given = given.mask(given.isna() & (rows["was_because"] == FIXED_OUT), "out")
    rows["given"], rows["side"] = given, side.mask(given.isin(SIDES), given)

    no_label, tested = rows["label"].isna(), rows["side"].isin(["val", "test"])
    why = pd.Series(None, index=rows.index, dtype="str").mask(no_label & tested, WITHDRAWN)
    why = why.mask(no_label & given.isin(["val", "test"]), FIXED_WAITS).mask(given == "out", FIXED_OUT)
    why = why.mask(rows["image_id"].isin(set(gold)), GOLD)
    rows["why_out"] = why.mask(rows["dropped"].notna(), DROPPED)
    return rows


def _found(table: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """For each row its place in a table of pictures, -1 where it is not there."""
    return pd.Index(table["image_id"]).get_indexer(pd.Index(rows["image_id"]))


def _taken(values: pd.Series, at: np.ndarray) -> pd.Series:
    """The values at these places as text, missing at -1."""
    return values.astype("str").reset_index(drop=True).reindex(at).reset_index(drop=True)


def _lasting(group: pd.Series, rows: pd.DataFrame) -> pd.Series:
    """Group ids that stay when a group grows: an earlier id lives on in the group that holds the picture it names.

    So the order of what is there does not change when pictures come in; of two groups that merge the smaller id stays.
    """
    by_id = pd.Series(group.to_numpy(), index=pd.Index(rows["image_id"]))
    kept = rows["was_group"].where(_taken_from(by_id, rows["was_group"]) == group)
    lives_on = kept.groupby(group.to_numpy()).min()
    return group.map(lives_on).fillna(group).astype("str")


def _taken_from(values: pd.Series, keys: pd.Series) -> pd.Series:
    """values[key] for each key, missing where there is none; NaN equals nothing."""
    return _taken(values, values.index.get_indexer(pd.Index(keys)))


class _Fill:
    """Takes whole groups for test and val until every class has its quota. Remembers each group's side."""

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], policy: Split, seed: int) -> None:
        self.policy = policy
        self.classes = list(classes)
        use = rows[rows["label"].notna() & rows["why_out"].isna()]
        self.side = _sides_before(rows)
        self.closed = set(rows["given"].dropna()) & {"val", "test"}  # a given test is the whole test
        self.taken: set[str] = set()  # groups that this run gives to test or val
        self.filled: set[str] = set()  # of these, groups whose pictures count however they were chosen
        self.order = dict(zip(use["group_id"], use["order"], strict=True))

        pairs = use[["group_id", "label"]].drop_duplicates()
        self.classes_in: dict[str, list[str]] = {}
        for group, key in zip(pairs["group_id"], pairs["label"], strict=True):
            self.classes_in.setdefault(group, []).append(key)
        in_groups = _tally(pairs["label"])
        can_train = pairs[~pairs["group_id"].map(self.side).isin(["val", "test"])]
        self.can_train = _tally(can_train["label"])  # groups that are not val or test, by class
        self.have = {name: _tally(_decided(use, self.side, name)["label"]) for name in ("val", "test")}

        # undecided group -> class -> pictures that may be tested on
        fresh = use[~use["group_id"].isin(self.side)]
        self.random = _counts(fresh[fresh["chosen_by"] == RANDOM])
        self.any = _counts(fresh) if policy.fill_short else {}
        self.counts = self.random

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
        """Fill `name` (test, then val) with pictures chosen at random; on request, what is short then, with any."""
        self._fill(name, quota)
        if self.policy.fill_short:
            before, self.counts = set(self.taken), self.any
            self._fill(name, quota)
            self.counts, self.filled = self.random, self.filled | (self.taken - before)

    def _fill(self, name: str, quota: dict[str, int]) -> None:
        """Give `name` groups in the order of their hash wherever no class goes over its quota."""
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
        labeled = rows[rows["label"].notna()]
        found = Counter(zip(labeled["label"].tolist(), labeled["split"].tolist(), strict=True))
        columns = {name: [found[key, name] for key in self.classes] for name in ("train", "val", "test")}
        table = pd.DataFrame(columns, index=pd.Index(self.classes, name="class"))
        table.insert(0, "labeled", [self.labeled.get(key, 0) for key in self.classes])
        table["quota"] = table["test"] if "test" in self.closed else [self.test_quota[key] for key in self.classes]
        # Short of what the other classes give, not of a quota that was lowered because the class is rare.
        wanted = table["quota"] if self.policy.balance == "natural" else table["quota"].max()
        table["short"] = 0 if "test" in self.closed else (wanted - table["test"]).clip(lower=0)
        table["note"] = ""
        table.loc[[not self.testable[key] for key in self.classes], "note"] = "fewer than 3 groups: trains only"
        table.loc[table["labeled"] == 0, "note"] = "no labels"
        return table


def _counts(use: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Group to class to its number of rows."""
    counts: dict[str, dict[str, int]] = {}
    for group, key in zip(use["group_id"].tolist(), use["label"].tolist(), strict=True):
        of_group = counts.setdefault(group, {})
        of_group[key] = of_group.get(key, 0) + 1
    return counts


def _sides_before(rows: pd.DataFrame) -> dict[str, str]:
    """Group to side, where a row of it has one already: test wins over val, val over train."""
    side: dict[str, str] = {}
    for name in SIDES:
        side.update(dict.fromkeys(rows.loc[rows["side"] == name, "group_id"], name))
    return side


def _decided(use: pd.DataFrame, side: dict[str, str], name: str) -> pd.DataFrame:
    """Rows that have this side already and keep it."""
    mine = use[use["side"] == name]
    return mine[(mine["group_id"].map(side) == name) | mine["given"].notna()]


def _tally(values: pd.Series) -> dict[str, int]:
    return {str(key): int(n) for key, n in values.value_counts().items()}


def _decide(rows: pd.DataFrame, fill: _Fill) -> pd.DataFrame:
    """The split and reason of every row, from what was given, its group's side and its own; and its side for the future."""
    group = rows["group_id"].map(fill.side).astype("str")
    labeled, side, why = rows["label"].notna(), rows["side"], rows["why_out"]
    taken, filled = rows["group_id"].isin(fill.taken), rows["group_id"].isin(fill.filled)
    random = rows["chosen_by"] == RANDOM
    tested = labeled & ((taken & (random | filled)) | (side == group))  # decided before: only what was tested before
    where = pd.Series("unlabeled", index=rows.index, dtype="str").mask(labeled, "train")
    for name, reason in (("test", IN_TEST), ("val", IN_VAL)):
        inside = group == name
        where = where.mask(inside & tested, name).mask(inside & ~tested, "out")
        why = why.mask(why.isna() & inside & ~tested & rows["given"].isna(), reason)
    given = rows["given"].isin(SIDES)
    where = where.mask(given & labeled, rows["given"]).mask(given & ~labeled, "unlabeled").mask(why.notna(), "out")

    stays = why.isna()
    new_filled = filled & taken & ~random & where.isin(["val", "test"])
    why = why.mask(stays & (new_filled | ((rows["was_because"] == FILLED) & (where == rows["was"]))), FILLED)
    why = why.mask(stays & given, FIXED)
    return rows.assign(split=where, split_reason=why, side=side.fillna(where.where(where.isin(SIDES))))


def _label_ranks(rows: pd.DataFrame) -> pd.Series:
    """Rank in [0, 1) of each train row within its class: groups in hash order, the middle of the group's place.

    The first group of every class has rank 0, so that even the smallest fraction has every class.
    """
    train = rows[rows["split"] == "train"].sort_values(["label", "order", "group_id", "image_id"])
    size = train.groupby(["label", "group_id"])["image_id"].transform("size")
    place = train.groupby("label").cumcount()
    start = place.groupby([train["label"], train["group_id"]]).transform("min")
    of_class = train.groupby("label")["image_id"].transform("size")
    rank = ((start + size / 2) / of_class).where(start > 0, 0.0)
    return rank.reindex(rows.index)


def _unlabeled_ranks(rows: pd.DataFrame) -> pd.Series:
    """Rank in [0, 1) of each unlabeled row by its own hash: any prefix is a random part."""
    pool = rows[rows["split"] == "unlabeled"]
    order = pool.index[np.argsort(_hashed(pool["seed"], pool["image_id"]).to_numpy())]
    return pd.Series(np.arange(len(order)) / max(len(order), 1), index=order).reindex(rows.index)


def _splits(rows: pd.DataFrame, before: pd.DataFrame, task: str, now: datetime) -> pd.DataFrame:
    """The rows as SPLITS; unchanged ones keep since, and rows of pictures that are gone stay as they are."""
    same = (rows["split"] == rows["was"]) & (rows["split_reason"].fillna("") == rows["was_because"].fillna(""))
    at = _found(before, rows)
    since = before["since"].reset_index(drop=True).reindex(at).reset_index(drop=True).where(same, pd.Timestamp(now))
    made = SPLITS.check(rows.assign(task=task, since=since)[SPLITS.names])
    gone = before[pd.Index(rows["image_id"]).get_indexer(pd.Index(before["image_id"])) < 0]
    return pd.concat([made, gone], ignore_index=True) if len(gone) else made


def _moved(rows: pd.DataFrame) -> dict[str, int]:
    """What happened to rows that were train, val or test before: `test -> out (label withdrawn)` and how many."""
    was = rows[rows["was"].isin(["train", "val", "test"]) & (rows["split"] != rows["was"])]
    reason = (" (" + was["split_reason"].astype("str") + ")").fillna("")
    said = was["was"] + " -> " + was["split"] + reason
    return {str(key): int(n) for key, n in said.value_counts().sort_index().items()}
