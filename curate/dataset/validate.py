"""What is wrong with a manifest, or any table of ours, in words and rows: the door says the first fault, this says them all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import TaskError
from schemas.interval import wilson
from schemas.manifest import manifest_id, picture_root
from schemas.s3 import SCHEME
from schemas.storage import place_of, sizes
from schemas.table import Table, read_parquet
from schemas.tables import MANIFEST, SPLIT_NAMES, TABLES
from schemas.task import read_task

SHOWN = 10  # rows of each finding
FEW = 30  # test pictures of a class below this say little about it
ERROR, WARNING = "error", "warning"
BY_HAND = ("fixed", "filled")  # reasons by which a picture may be in a split against a rule, as somebody asked for


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or deserves a look (warning), with the first rows that show it."""

    level: str
    what: str
    rows: tuple[str, ...] = ()

    def describe(self) -> str:
        """The finding as lines."""
        return "\n".join([f"{self.level}: {self.what}", *(f"    {row}" for row in self.rows)])


@dataclass(frozen=True)
class Checked:
    """Everything that was found in a file."""

    path: Path
    kind: Table | None
    n_rows: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors; warnings do not fail."""
        return sum(finding.level == ERROR for finding in self.findings)

    def describe(self) -> str:
        """All findings, errors first, and the verdict."""
        ordered = sorted(self.findings, key=lambda finding: finding.level)
        warnings = len(self.findings) - self.errors
        kind = self.kind.name if self.kind else "a table of somebody else"
        verdict = f"{_n(self.errors, 'error')}, {_n(warnings, 'warning')}" if ordered else "fine"
        return "\n".join(
            [*(finding.describe() for finding in ordered), f"{self.path}: {kind}, {self.n_rows} rows: {verdict}"]
        )


def validate(path: Path, pictures: bool = False) -> Checked:
    """Check a file and explain all that is wrong with it.

    Args:
        path: a manifest, or any table that a command of ours wrote.
        pictures: also look whether every picture file of a manifest is there.
    Raises:
        TableError: the file is missing, cut off, no Parquet, or of a newer version: there is nothing to look at.
    """
    path = Path(path)
    raw = read_parquet(path)
    kind = _kind(raw)
    if kind is None:
        known = ", ".join(table.name for table in TABLES)
        what = f"no table of ours: it says no name, and its columns are those of none of {known}"
        return Checked(path, None, raw.num_rows, (Finding(ERROR, what, (f"columns: {', '.join(raw.column_names)}",)),))
    kind.check_identity(path, raw.schema)
    findings: list[Finding] = []
    table = _shaped(raw, kind, findings)
    if kind is MANIFEST:
        findings += _Manifest(path, table, whole=not findings).findings(pictures)
    return Checked(path, kind, raw.num_rows, tuple(findings))


def _kind(raw: pa.Table) -> Table | None:
    """Which table it says it is; else the manifest, or the table whose required columns it has most of."""
    said = (raw.schema.metadata or {}).get(b"consenso.table", b"").decode()
    named = next((kind for kind in TABLES if kind.name == said), None)
    if named:
        return named
    found = set(raw.column_names)
    if {"image_id", "split"} <= found and found & {"path", "n_votes", "label_probs"}:
        return MANIFEST
    fits = [kind for kind in TABLES if {c.name for c in kind.columns if not c.null} <= found]
    return max(fits, key=lambda kind: len(found & set(kind.names)), default=None)


def _shaped(raw: pa.Table, kind: Table, findings: list[Finding]) -> pa.Table:
    """The file in the declared shape, what does not fit left empty; says what is missing, unknown, null or repeated."""
    optional = [c.name for c in kind.columns if c.null and c.name not in raw.column_names]
    missing = [c.name for c in kind.columns if not c.null and c.name not in raw.column_names]
    if missing:
        findings.append(Finding(ERROR, f"columns {', '.join(missing)} are missing; `{kind.made_by}` writes them"))
    if optional and kind is MANIFEST:
        findings.append(Finding(ERROR, f"columns {', '.join(optional)} are missing; they are read as empty"))
    if unknown := [name for name in raw.column_names if name not in kind.names]:
        findings.append(Finding(WARNING, f"columns {', '.join(unknown)} are unknown; nothing reads them"))
    columns = []
    for column in kind.columns:
        field = column.arrow()
        made = pa.chunked_array([pa.nulls(raw.num_rows, field.type)])
        if column.name in raw.column_names:
            try:
                made = raw[column.name].cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                detail = str(error).splitlines()[0]
                said = f"column {column.name} should be {field.type}, is {raw.schema.field(column.name).type}: {detail}"
                findings.append(Finding(ERROR, said))
            else:
                if not column.null and made.null_count:
                    findings.append(Finding(ERROR, f"column {column.name} is missing in {_n(made.null_count, 'row')}"))
        columns.append(made)
    schema = pa.schema([pa.field(c.name, c.arrow().type) for c in kind.columns], raw.schema.metadata)
    table = pa.Table.from_arrays(columns, schema=schema)
    if kind.key and not set(kind.key) & set(missing):
        findings += _repeated(table, kind)
    return table


def _repeated(table: pa.Table, kind: Table) -> Iterator[Finding]:
    """Rows that share a key."""
    counts = table.select(list(kind.key)).group_by(list(kind.key)).aggregate([([], "count_all")])
    if counts.num_rows == table.num_rows:
        return
    twice = counts.filter(pc.greater(counts["count_all"], 1)).to_pandas().sort_values(list(kind.key))
    extra = table.num_rows - counts.num_rows
    rows = [
        f"{' '.join(str(row[name]) for name in kind.key)}: {row['count_all']} rows"
        for _, row in twice[:SHOWN].iterrows()
    ]
    yield Finding(
        ERROR,
        f"{_n(len(twice), 'key')} ({', '.join(kind.key)}) named by several rows, {extra} too many",
        _some(rows, len(twice)),
    )


class _Manifest:
    """The checks of a manifest; each yields what it finds."""

    def __init__(self, path: Path, table: pa.Table, whole: bool) -> None:
        self.path, self.table, self.whole = path, table, whole
        meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        self.meta = meta
        self.lists = {name: table[name].combine_chunks() for name in ("label_probs", "votes")}
        self.rows = table.drop_columns(["label_probs", "votes", "marketplaces"]).to_pandas()
        self.info = _json(meta.get("consenso.info"), {})
        self.kept = list(_json(meta.get("consenso.classes"), []))
        self.classes = self.kept or sorted(self.rows["label"].dropna().unique())
        self.task = meta.get("consenso.task") or path.stem
        self.by_split = self.info.get("made_by") == "curate split"  # after `curate aggregate` alone ranks may be patchy
        side = self.rows["split"].where(self.rows["split"].isin(SPLIT_NAMES) & (self.rows["split"] != "out"))
        self.side = side.replace("unlabeled", "train")  # unlabeled pictures are trained on

    def findings(self, pictures: bool) -> list[Finding]:
        """All of them."""
        checks: list[Callable[[], Iterable[Finding]]] = [
            self.identity, self.class_list, self.labels, self.splits, self.crossings, self.reasons, self.chosen,
            self.label_ranks, self.unlabeled_ranks, self.probabilities, self.votes, self.counts, self.family,
        ]  # fmt: skip
        if pictures:
            checks.append(self.files)
        return [finding for check in checks for finding in check()]

    def find(self, level: str, bad: pd.Series | np.ndarray, what: str, *show: str) -> Iterator[Finding]:
        """One finding about the rows that are bad, if there are any; `{n}` in `what` is their number."""
        mask = np.asarray(bad, dtype=bool)
        if mask.any():
            some = self.rows.loc[mask, ["image_id", *show]].sort_values("image_id")[:SHOWN]
            lines = [_row(row, show) for row in some.to_dict("records")]
            yield Finding(level, what.format(n=_n(int(mask.sum()), "row")), _some(lines, int(mask.sum())))

    # ---- what it says of itself

    def identity(self) -> Iterator[Finding]:
        """The id is the hash of the content."""
        said = self.meta.get("consenso.manifest_id")
        if not said:
            what = "the file carries no manifest_id, task or parent (pandas drops them when it writes a table)"
            yield Finding(WARNING, what)
        elif self.whole and manifest_id(_strict(self.table), self.task, self.kept) != said:
            what = f"manifest_id {said} is not that of the content: edited by hand? `curate split` builds it anew from the tables"
            yield Finding(ERROR, what)

    def class_list(self) -> Iterator[Finding]:
        """The class order, here and in the task file."""
        if not self.kept:
            yield Finding(
                WARNING, f"the file carries no class list; read with {len(self.classes)} classes in sorted order"
            )
            return
        file = picture_root(self.path) / "tasks" / f"{self.task}.yaml"
        if not file.exists():
            return
        try:
            keys = read_task(file).keys
        except TaskError:
            return  # the task file has its own messages
        if keys != self.kept:
            only = [f"only here: {', '.join(x)}" for x in [[k for k in self.kept if k not in keys]] if x]
            only += [f"only there: {', '.join(x)}" for x in [[k for k in keys if k not in self.kept]] if x]
            yield Finding(WARNING, f"its classes differ from {file.name}: {'; '.join(only) or 'other order'}")

    def family(self) -> Iterator[Finding]:
        """The parent is one of the manifests beside it."""
        parent = self.meta.get("consenso.parent")
        if not parent:
            return
        folders = {self.path.resolve().parent, picture_root(self.path) / self.task / "manifests"}
        files = [file for folder in folders for file in folder.glob("*.parquet")]
        if not any(_manifest_id(file) == parent for file in files):
            yield Finding(WARNING, f"its parent {parent} is not beside it: nothing here can say what changed since")

    # ---- rows

    def labels(self) -> Iterator[Finding]:
        """Labels are classes."""
        label = self.rows["label"]
        stray = label.notna() & ~label.isin(self.classes)
        yield from self.find(ERROR, stray, f"{{n}} with a label outside the classes ({_short(self.classes)})", "label")

    def splits(self) -> Iterator[Finding]:
        """Split is one of five names and fits the label."""
        rows, split = self.rows, self.rows["split"]
        if split.isna().all() and len(rows):
            yield Finding(WARNING, "no picture has a split yet: run `curate split`")
            return
        yield from self.find(WARNING, split.isna(), "{n} without a split: new since the last `curate split`", "label")
        odd = split.notna() & ~split.isin(SPLIT_NAMES)
        yield from self.find(ERROR, odd, f"{{n}} with a split that is none of {', '.join(SPLIT_NAMES)}", "split")
        needs = split.isin(["train", "val", "test"]) & rows["label"].isna()
        yield from self.find(ERROR, needs, "{n} in train, val or test without a label", "split")
        late = (split == "unlabeled") & rows["label"].notna()
        yield from self.find(WARNING, late, "{n} labeled but still in the unlabeled pool: run `curate split`", "label")

    def crossings(self) -> Iterator[Finding]:
        """Nothing that hangs together stands on two sides."""
        listing = self.rows["marketplace"] + " " + self.rows["listing_id"]
        for name, key in (("group", self.rows["group_id"]), ("cluster", self.rows["cluster_id"]), ("listing", listing)):
            yield from self._crossing(name, key)

    def _crossing(self, name: str, key: pd.Series) -> Iterator[Finding]:
        inside = pd.DataFrame({"key": key, "side": self.side, "image_id": self.rows["image_id"]}).dropna()
        pairs = inside[["key", "side"]].drop_duplicates()
        crossing = pairs["key"][pairs["key"].duplicated()].unique()
        if not len(crossing):
            return
        bad = inside[inside["key"].isin(crossing)].assign(fixed=self.rows["split_reason"] == "fixed")
        asked = bad.drop_duplicates(["key", "side"])["key"].isin(bad.loc[bad["fixed"], "key"]).all()
        lines = [
            f"{name} {_id(key)}: " + ", ".join(f"{_id(r.image_id)} in {r.side}" for r in rows.sort_values(["side", "image_id"])[:4].itertuples())
            for key, rows in bad.groupby("key")
        ]  # fmt: skip
        what = f"{_n(len(crossing), name)} ({len(bad)} pictures) on several sides: the test knows what trained"
        if asked:
            what += "; a given split put them there"
        yield Finding(WARNING if asked else ERROR, what, _some(lines[:SHOWN], len(lines)))

    def reasons(self) -> Iterator[Finding]:
        """Out says why; what is dropped is out."""
        split, why = self.rows["split"], self.rows["split_reason"]
        yield from self.find(ERROR, (split == "out") & why.isna(), "{n} out without a split_reason", "label")
        odd = split.notna() & (split != "out") & why.notna() & ~why.isin(BY_HAND)
        yield from self.find(ERROR, odd, "{n} with a reason to be out that are not out", "split", "split_reason")
        inside = self.rows["dropped"].notna() & split.notna() & (split != "out")
        yield from self.find(ERROR, inside, "{n} dropped and yet in a split", "split", "dropped")

    def chosen(self) -> Iterator[Finding]:
        """Val and test hold what was chosen at random."""
        chosen = self.rows["chosen_by"].fillna("unknown")
        odd = self.rows["split"].isin(["val", "test"]) & (chosen != "random")
        asked = self.rows["split_reason"].isin(BY_HAND)
        said = "not chosen at random in val or test"
        yield from self.find(ERROR, odd & ~asked, f"{{n}} {said}", "split", "chosen_by")
        yield from self.find(
            WARNING, odd & asked, f"{{n}} {said}, as was asked for", "split", "split_reason", "chosen_by"
        )

    def label_ranks(self) -> Iterator[Finding]:
        """Ranks of train rows nest: 25 % lies inside 50 %, with every class in it."""
        rank, train = self.rows["label_rank"], self.rows["split"] == "train"
        yield from self._rank_range("label_rank", rank, train, "train")
        rows = self.rows[train & rank.notna() & self.rows["label"].isin(self.classes)]
        several = rows.groupby(["label", "group_id"])["label_rank"].nunique()
        if (several > 1).any():
            lines = [
                f"{label}: group {_id(group)} has {n} ranks"
                for (label, group), n in several[several > 1][:SHOWN].items()
            ]
            n = int((several > 1).sum())
            yield Finding(
                ERROR, f"label_rank tears {_n(n, 'group')} apart: near twins must come in together", _some(lines, n)
            )
        lines = [line for key, of_class in rows.groupby("label") if (line := _uneven(str(key), of_class))]
        if lines:
            level = ERROR if self.by_split else WARNING
            what = (
                f"label_rank does not nest in {_n(len(lines), 'class', 'classes')}: a fraction does not hold its share"
            )
            yield Finding(level, what + self._patchy(), _some(lines[:SHOWN], len(lines)))

    def unlabeled_ranks(self) -> Iterator[Finding]:
        """A prefix of the unlabeled pool has just so many pictures."""
        rank, pool = self.rows["unlabeled_rank"], self.rows["split"] == "unlabeled"
        yield from self._rank_range("unlabeled_rank", rank, pool, "unlabeled")
        known = np.sort(rank[pool].dropna().to_numpy())
        if len(known) and np.abs(known - np.arange(len(known)) / len(known)).max() > 1 / len(known) + 1e-9:
            what = "unlabeled_rank is not even in [0, 1): `--unlabeled 50%` would not be half"
            yield Finding(ERROR if self.by_split else WARNING, what + self._patchy())

    def _rank_range(self, name: str, rank: pd.Series, where: pd.Series, split: str) -> Iterator[Finding]:
        yield from self.find(
            ERROR, rank.notna() & ~((rank >= 0) & (rank < 1)), f"{{n}} with {name} outside [0, 1)", name
        )
        level = ERROR if self.by_split else WARNING
        yield from self.find(level, where & rank.isna(), f"{{n}} of {split} without {name}{self._patchy()}", "label")
        yield from self.find(ERROR, ~where & rank.notna(), f"{{n}} with {name} that are not {split}", "split", name)

    def _patchy(self) -> str:
        return "" if self.by_split else ": run `curate split`"

    def probabilities(self) -> Iterator[Finding]:
        """label_probs: one per class, sum 1, the label on top."""
        lists, k = self.lists["label_probs"], len(self.classes)
        there, length = _lengths(lists)
        yield from self.find(
            ERROR, there & (length != k), f"{{n}} with label_probs of another length than {k} classes", "label"
        )
        good = there & (length == k)
        values = np.asarray(lists.filter(pa.array(good)).flatten().to_numpy(zero_copy_only=False)).reshape(-1, k or 1)
        if not k or not len(values):
            return
        wrong = np.zeros(len(there), bool)
        wrong[good] = ~((np.abs(values.sum(axis=1) - 1) < 1e-6) & (values >= 0).all(axis=1))
        yield from self.find(ERROR, wrong, "{n} with label_probs that do not sum to 1 or are negative", "label")
        place = pd.Index(self.classes).get_indexer(pd.Index(self.rows["label"]))[good]
        below = np.zeros(len(there), bool)
        below[good] = (place >= 0) & (values[np.arange(len(values)), place] < values.max(axis=1) - 1e-9)
        yield from self._differs(below, good, "whose label is not the most probable class of label_probs")

    def votes(self) -> Iterator[Finding]:
        """The single votes fit the counts, the classes and the label."""
        lists = self.lists["votes"]
        there, length = _lengths(lists)
        n_votes, n_agree = (self.rows[name].fillna(-1).to_numpy() for name in ("n_votes", "n_agree"))
        yield from self.find(
            ERROR, there & (length != n_votes), "{n} where n_votes is not the number of votes", "label", "n_votes"
        )
        row = np.repeat(np.arange(len(there)), length)
        said = pd.Series(lists.flatten().field("label").to_pandas() if len(row) else [], dtype="str")
        odd = np.zeros(len(there), bool)
        odd[row[~said.isin(self.classes).to_numpy()]] = True
        yield from self.find(ERROR, odd, "{n} with votes for something that is no class", "label")
        code, _ = pd.factorize(said)
        k = int(code.max(initial=0)) + 2
        pair, counts = np.unique(row * k + code + 1, return_counts=True)
        top = np.zeros(len(there), np.int64)
        np.maximum.at(top, pair // k, counts)
        mine = np.bincount(row, (said == self.rows["label"].iloc[row].reset_index(drop=True)).to_numpy(), len(there))
        known = there & self.rows["label"].notna().to_numpy()
        agree = there & (n_agree != top) & (n_agree != mine)
        yield from self.find(ERROR, agree, "{n} where n_agree is not the number of equal votes", "label", "n_agree")
        yield from self._differs(known & (mine < top), known, "whose votes say another label")

    def _differs(self, bad: np.ndarray, of: np.ndarray, what: str) -> Iterator[Finding]:
        """An expert's or a model's label may differ from the votes now and then; most of them differing is a fault."""
        most = bad.sum() * 2 > of.sum()
        why = "was the class order changed?" if most else "an expert or a model may have decided otherwise"
        yield from self.find(ERROR if most else WARNING, bad, f"{{n}} {what}: {why}", "label", "split")

    def counts(self) -> Iterator[Finding]:
        """Classes that cannot be learned or tested."""
        labeled = self.rows[self.rows["label"].notna() & (self.rows["split"] != "out")]
        n = labeled["label"].value_counts().reindex(self.classes, fill_value=0)
        if not n.sum():
            yield Finding(WARNING, "no picture has a label: there is nothing to train on")
            return
        if (n > 0).sum() == 1:
            yield Finding(WARNING, f"only one class has labels ({n.idxmax()}): a classifier learns nothing from it")
        if (n == 0).any():
            yield Finding(
                WARNING, f"{_n(int((n == 0).sum()), 'class', 'classes')} without a label: {_short(n.index[n == 0])}"
            )
        if (n == 1).any():
            what = f"{_n(int((n == 1).sum()), 'class', 'classes')} with a single picture: {_short(n.index[n == 1])}"
            yield Finding(WARNING, what + "; it can train, never be tested")
        if not (labeled["split"] == "test").any():
            if labeled["split"].notna().any():
                yield Finding(WARNING, "no picture is tested on")
            return
        test = labeled.loc[labeled["split"] == "test", "label"].value_counts().reindex(self.classes, fill_value=0)
        few = test[(test < FEW) & (n > 0)]
        if len(few):
            lines = [_few(str(key), int(count)) for key, count in few.sort_values(kind="stable")[:SHOWN].items()]
            what = f"{_n(len(few), 'class', 'classes')} with fewer than {FEW} test pictures: their figures say little"
            yield Finding(WARNING, what, _some(lines, len(few)))

    def files(self) -> Iterator[Finding]:
        """Every picture is there: under the root, or in its bucket."""
        path, root = self.rows["path"], picture_root(self.path)
        remote = path.str.startswith(SCHEME).fillna(False).astype(bool)
        known = path.notna() & (remote | ~path.str.contains("://", regex=False, na=False))
        gone = np.zeros(len(path), bool)
        gone[known] = [size is None for size in sizes([place_of(root, str(name)) for name in path[known]])]
        for bad, where in ((gone & ~remote, f"under {root}"), (gone & remote, "in its bucket")):
            yield from self.find(ERROR, np.asarray(bad, bool), f"{{n}} whose picture file is not {where}", "path")
        if elsewhere := int((~known & path.notna()).sum()):
            yield Finding(WARNING, f"{_n(elsewhere, 'picture')} at a URI; these were not looked for")


def _strict(table: pa.Table) -> pa.Table:
    """The same columns with the declared fields, so that their hash is that of the file as it was written."""
    return pa.Table.from_arrays(table.columns, schema=pa.schema([column.arrow() for column in MANIFEST.columns]))


def _uneven(key: str, rows: pd.DataFrame) -> str | None:
    """What is wrong with the ranks of one class: every fraction holds its share within the largest group."""
    rank, largest = rows["label_rank"], rows.groupby("group_id", dropna=False).size().max()
    if rank.min() > 0:
        return f"{key}: smallest label_rank is {rank.min():.3f}, must be 0, or a small fraction misses the class"
    for fraction in (0.25, 0.5, 0.75):
        found = int((rank < fraction).sum())
        if abs(found - fraction * len(rows)) > largest:
            return f"{key}: {found} of {len(rows)} below {fraction}"
    return None


def _few(key: str, n: int) -> str:
    if n == 0:
        return f"{key}: none"
    right = round(0.8 * n)
    low, high = wilson(right, n)
    return f"{key}: {n}; {right} right would mean {100 * low:.0f} to {100 * high:.0f} %"


def _lengths(lists: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where there is a list, and how long it is (0 where there is none)."""
    length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return ~lists.is_null().to_numpy(zero_copy_only=False), length


def _manifest_id(file: Path) -> str:
    import pyarrow.parquet as pq

    try:
        return (pq.read_schema(file).metadata or {}).get(b"consenso.manifest_id", b"").decode()
    except (pa.ArrowException, OSError):
        return ""


def _json(text: str | None, otherwise: Any) -> Any:
    try:
        return json.loads(text) if text else otherwise
    except json.JSONDecodeError:
        return otherwise


def _id(name: object) -> str:
    """A long id cut to what tells it apart."""
    text = str(name)
    return f"{text[:12]}…" if len(text) > 24 else text


def _row(row: dict[object, object], show: Sequence[str]) -> str:
    said = ", ".join(f"{name} {'missing' if pd.isna(row[name]) else _id(row[name])}" for name in show)  # type: ignore[call-overload]
    return f"{_id(row['image_id'])}: {said}"


def _some(lines: Sequence[str], n: int) -> tuple[str, ...]:
    """At most ten lines, and how many more there are."""
    more = n - len(lines[:SHOWN])
    return (*lines[:SHOWN], *([f"and {more} more"] if more > 0 else []))


def _short(names: Iterable[object], most: int = 8) -> str:
    every = list(map(str, names))
    return ", ".join(every[:most]) + (f", … ({len(every)})" if len(every) > most else "")


def _n(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
