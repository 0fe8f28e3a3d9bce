"""The data set card: a README with the header that the Hub reads, and what a user of the data must know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from curate.dataset.export.choose import LEARNED, Chosen, describe
from curate.dataset.export.circumstances import UNKNOWN, Circumstances, rights
from schemas import __version__
from schemas.interval import wilson

FEW = 20  # test pictures of a class below which its own accuracy says little
# identifiers of licenses that the Hub knows, of those that pictures come under; any other is `other` with its name
LICENSES = frozenset({
    "apache-2.0", "mit", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "pddl", "odc-by", "odbl", "unlicense", "unknown", "other",
})  # fmt: skip
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def card(chosen: Chosen, known: Circumstances, *, data_files: Mapping[str, str] | None = None) -> str:
    """The card as Markdown with its YAML header. `data_files` are the files of each split, for the Hub's `configs`."""
    header = yaml.safe_dump(metadata(chosen, known, data_files), sort_keys=False, allow_unicode=True, width=120)
    parts = [
        _head(chosen, known),
        _classes(chosen, known),
        _marketplaces(chosen),
        _labels(chosen, known),
        _split(chosen),
        _limits(chosen, known),
        _license(chosen, known),
        _origin(chosen),
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def metadata(chosen: Chosen, known: Circumstances, data_files: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The header: only keys and values that the Hub's own check accepts."""
    licenses = sorted(set(rights(chosen.rows, known.listings)["license"]))
    name = licenses[0].lower() if len(licenses) == 1 else "other"
    pairs = [{"split": split, "path": path} for split, path in (data_files or {}).items()]
    return {
        "pretty_name": known.title(chosen.manifest.task),
        "license": name if name in LICENSES else "other",
        **({"license_name": "see-the-license-section"} if name not in LICENSES or name == "other" else {}),
        **({"license_link": "README.md"} if name not in LICENSES or name == "other" else {}),
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "annotations_creators": _creators(known),
        "language": _languages(known),
        "size_categories": [_size(len(chosen.rows))],
        "tags": ["product-images", "fine-grained", "consenso"],
        **({"configs": [{"config_name": "default", "data_files": pairs}]} if pairs else {}),
    }


def _creators(known: Circumstances) -> list[str]:
    words = {"crowd": "crowdsourced", "duplicate": "crowdsourced", "twin": "crowdsourced", "simulated": "machine-generated",
             "expert": "expert-generated", "import": "found"}  # fmt: skip
    return sorted({words.get(source, "other") for source in known.sources}) or ["other"]


def _languages(known: Circumstances) -> list[str]:
    """Two-letter codes: of the listings where they say it, else of the question."""
    said = [] if known.listings is None else known.listings["language"].dropna().tolist()
    codes = {re.split("[-_]", str(code))[0].lower() for code in said or (known.task.question if known.task else ())}
    return sorted(code for code in codes if re.fullmatch("[a-z]{2,3}", code)) or ["und"]


def _size(n: int) -> str:
    return next((name for most, name in _SIZES if n < most), "10M<n<100M")


def _head(chosen: Chosen, known: Circumstances) -> str:
    counts = ", ".join(f"{n:,} {split}" for split, n in chosen.counts().items())
    marketplaces = chosen.rows["marketplace"].nunique()
    where = f" from {_count(marketplaces, 'marketplace')}" if marketplaces else ""
    lines = [
        f"# {known.title(chosen.manifest.task)}",
        f"{len(chosen.rows):,} product pictures{where} in {_count(len(chosen.classes), 'class', 'classes')}: {counts}.",
    ]
    if known.simulated:
        lines.append(
            f"> **The answers behind {known.sources['simulated']:,} of {sum(known.sources.values()):,} labels are simulated: "
            "a program gave them, no person looked at the pictures.** Good for trying software out. Do not train a model for "
            "use on it, and do not quote its agreement figures as those of people."
        )
    return "\n\n".join(lines)


def _classes(chosen: Chosen, known: Circumstances) -> str:
    rows, splits = chosen.rows, [split for split in chosen.splits if split != "unlabeled"]
    about = {each.key: each for each in known.task.classes} if known.task else {}
    defined = any(about[key].definition for key in chosen.classes if key in about)
    counted = pd.crosstab(rows["label"], rows["split"]).reindex(index=chosen.classes, columns=splits, fill_value=0)
    table = [
        [n, f"`{key}`", *([_definition(about.get(key))] if defined else []), *counted.loc[key], counted.loc[key].sum()]
        for n, key in enumerate(chosen.classes)
    ]
    total = ["", "all", *([""] if defined else []), *counted.sum(), counted.to_numpy().sum()]
    head = ["number", "class", *(["definition"] if defined else []), *splits, "all"]
    text = f"## Classes\n\n{_table(head, [*table, total])}"
    if "unlabeled" in chosen.splits:
        text += f"\n\nBesides, {chosen.counts()['unlabeled']:,} pictures without a label."
    return text


def _definition(each: Any) -> str:
    return next(iter(each.definition.values()), "") if each else ""


def _marketplaces(chosen: Chosen) -> str:
    rows = chosen.rows[["marketplaces", "split"]].explode("marketplaces").dropna()
    if rows.empty:
        return ""
    counted = pd.crosstab(rows["marketplaces"], rows["split"]).reindex(columns=chosen.splits, fill_value=0)
    table = [[name, *row, row.sum()] for name, row in counted.iterrows()]
    return (
        "## Marketplaces\n\nA picture counts in every marketplace that shows it.\n\n"
        f"{_table(['marketplace', *chosen.splits, 'all'], table)}"
    )


def _labels(chosen: Chosen, known: Circumstances) -> str:
    rows, info = chosen.rows, chosen.manifest.info
    lines = ["## How the labels were made", ""]
    if known.task:
        lines += [f"Question: *{next(iter(known.task.question.values()))}*", ""]
    crowd = info.get("crowd") or {}
    if crowd.get("agree"):
        first, most = crowd["assignments"]["first"], crowd["assignments"]["up_to"]
        asked = f"{first}" if first == most else f"{first} to {most}"
        lines.append(
            f"{asked} answers a picture were asked for. A picture is labeled when at least {crowd['agree']} of them, and more "
            "than half of all that count, are equal; every other picture stays unlabeled. So ties are never broken."
        )
    if known.sources:
        words = {"crowd": "from people's votes", "simulated": "from **simulated** votes", "expert": "by an expert",
                 "import": "imported whole", "duplicate": "taken from an exact copy",
                 "twin": "taken from a near twin"}  # fmt: skip
        lines += ["", "Labels of the whole manifest: " + _listed(known.sources, words) + "."]
    else:
        lines += ["", "Who gave the labels (people, experts, a simulation) is not recorded in this manifest."]
    return "\n".join([*lines, "", *_agreement(rows, known)])


def _agreement(rows: pd.DataFrame, known: Circumstances) -> list[str]:
    lines = []
    if known.agreement is not None and (known.agreement["scope"] == "overall").any():
        all_ = known.agreement[known.agreement["scope"] == "overall"].iloc[0]
        lines.append(
            f"Agreement on {int(all_['n_images']):,} pictures with two answers or more, labeled or not: Krippendorff's alpha "
            f"{_figure(all_['alpha'])}, Fleiss' kappa {_figure(all_['kappa'])}; two answers on one picture are equal in "
            f"{_percent(all_['agreement'])} of cases."
        )
        worst = known.agreement[known.agreement["scope"] == "class"].dropna(subset="alpha").nsmallest(3, "alpha")
        if len(worst):
            named = ", ".join(
                f"`{name}` ({_figure(alpha)})" for name, alpha in zip(worst["name"], worst["alpha"], strict=True)
            )
            lines += ["", f"Lowest alpha by class: {named}."]  # fmt: skip
    asked = rows[rows["label"].notna() & (rows["n_votes"].fillna(0) >= 2)]
    if len(asked):
        equal = int((asked["n_agree"] == asked["n_votes"]).sum())
        lines += [
            *([""] if lines else []),
            f"Of the {len(asked):,} labeled pictures here with two votes or more, {equal:,} ({_percent(equal / len(asked))}) "
            "are unanimous. Pictures on which people did not agree have no label, so this says more than it would of all.",
        ]
    return lines


def _split(chosen: Chosen) -> str:
    if not chosen.was_split:
        return (
            "## How the split was made\n\n**It was not**: all labeled pictures are called train. Near twins and pictures of one "
            "listing are among them, so a split at random leaks; `curate split` keeps them together."
        )
    policy = chosen.manifest.info.get("split") or {}
    lines = ["## How the split was made", ""]
    if policy:
        most = _percent(policy.get("max_test_share", 0))
        balance = {
            "capped": f"the same count of every class as far as at most {most} of a class allows",
            "strict": "the same count of every class, as many as the smallest allows",
            "natural": "classes as frequent as they come",
        }.get(policy.get("balance", ""), "")
        lines.append(
            f"Test: {_percent(policy.get('test', 0))} of the labeled pictures{', ' + balance if balance else ''}. "
            f"Val: {_percent(policy.get('val', 0))}, classes as frequent as they come. Seed {policy.get('seed', 0)}."
        )
        if policy.get("balance") != "natural":
            lines.append("Accuracy on test is therefore not accuracy on pictures as they come; val is nearer to that.")
    lines.append(
        "Near twins, equal bytes and pictures of one listing form a group (`group_id`), and a group lies in one split only."
    )
    crossing = _crossing(chosen.rows)
    if crossing:
        lines.append(f"**{crossing:,} groups cross splits in this manifest.**")
    chosen_by = chosen.rows.loc[chosen.rows["split"].isin(LEARNED)].assign(
        chosen_by=lambda rows: rows["chosen_by"].fillna("not recorded")
    )
    shares = pd.crosstab(chosen_by["chosen_by"], chosen_by["split"])
    splits = [split for split in LEARNED if split in shares]
    table = [
        [name, *(f"{row[s]:,} ({_percent(row[s] / shares[s].sum())})" for s in splits)]
        for name, row in shares.iterrows()
    ]
    return "\n".join([*lines, "", "Why people were asked about a picture (`chosen_by`):", "", _table(["chosen by", *splits], table)])  # fmt: skip


def _crossing(rows: pd.DataFrame) -> int:
    return int((rows.dropna(subset="group_id").groupby("group_id")["split"].nunique() > 1).sum())


def _limits(chosen: Chosen, known: Circumstances) -> str:
    rows = chosen.rows
    points = []
    if "test" in chosen.splits:
        tested = rows.loc[rows["split"] == "test", "label"].value_counts().reindex(chosen.classes, fill_value=0)
        none = [key for key, n in tested.items() if n == 0]
        few = [f"`{key}` ({n})" for key, n in tested.items() if 0 < n < FEW]
        low, high = wilson(FEW // 2, FEW)
        if none:
            points.append(f"No test picture, so no figure at all: {', '.join(f'`{key}`' for key in none)}.")
        if few:
            points.append(
                f"Fewer than {FEW} test pictures: {', '.join(few)}. With {FEW}, an accuracy of 50 % has a 95 % interval from "
                f"{_percent(low)} to {_percent(high)}; do not compare models on these classes alone."
            )
    clusters = rows.dropna(subset="cluster_id").groupby("cluster_id").size()
    twins = int(clusters[clusters > 1].sum())
    if len(clusters):
        points.append(
            f"Near duplicates were looked for by perceptual hash: {_count(twins, 'picture')} here "
            f"{'stands' if twins == 1 else 'stand'} in a cluster with another one (`cluster_id`). Pictures that look alike to "
            "people and not to the hash (another angle, another crop) are not found so."
        )
    else:
        points.append("Near duplicates were not looked for.")
    if known.simulated:
        points.append("Votes are simulated (see above): label noise, agreement and difficulty are those of a program.")
    points.append("Labels are what most people saw in one picture, not what the seller knows about the product.")
    unknown = int((rights(rows, known.listings)["license"] == UNKNOWN).sum())
    if unknown:
        points.append(f"The license of {unknown:,} of {len(rows):,} pictures is unknown (see License).")
    if chosen.left_out:
        points.append(f"Left out of this export: {describe(chosen.left_out)}.")
    return "## Known limits\n\n" + "\n".join(f"- {point}" for point in points)


def _license(chosen: Chosen, known: Circumstances) -> str:
    found = rights(chosen.rows, known.listings).value_counts().reset_index()
    lines = ["## License", ""]
    if set(found["license"]) == {UNKNOWN} and set(found["permission"]) == {UNKNOWN}:
        return "\n".join([
            *lines,
            "**Unknown.** Neither a license nor a permission is recorded for any picture. The pictures were made by sellers and "
            "others who may hold rights in them; ask before you publish or sell anything made of them.",
        ])  # fmt: skip
    table = [[row.license, row.permission, f"{row.count:,}"] for row in found.itertuples(index=False, name="Row")]
    lines += ["As the listings, or whoever collected them, state it:", "", _table(["license", "permission", "pictures"], table)]  # fmt: skip
    if UNKNOWN in set(found["license"]):
        lines += ["", "Where the license is unknown, ask the marketplace or seller before you publish the pictures."]
    return "\n".join(lines)


def _origin(chosen: Chosen) -> str:
    manifest = chosen.manifest
    made_by = manifest.info.get("made_by")
    lines = [
        "## Origin",
        "",
        f"- Manifest `{manifest.manifest_id}`, task `{manifest.task}`" + (f", made by `{made_by}`" if made_by else ""),
        f"- Parent manifest: {f'`{manifest.parent}`' if manifest.parent else 'none'}",
        f"- Question version {manifest.info.get('question_version', 'not recorded')}, class list version "
        f"{manifest.info.get('taxonomy_version', 'not recorded')}",
        f"- Exported by Consenso {__version__}; `image_id` is the sha256 of the picture's original bytes",
        "- Workers are named by pseudonyms that hold for this task alone, or left out",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, numbers to the right."""
    body = [[_cell(value) for value in row] for row in rows]
    right = [all(re.fullmatch(r"[\d,.]*( \(.*\))?", row[n]) for row in body) for n in range(len(head))]
    lines = [list(head), ["---:" if side else "---" for side in right], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """A value inside a table: one line, and nothing that ends the cell or begins HTML."""
    if isinstance(value, str):
        return re.sub(r"\s+", " ", value).replace("|", "\\|").replace("<", "&lt;")
    return f"{int(value):,}"


def _listed(counts: Mapping[str, int], words: Mapping[str, str]) -> str:
    return ", ".join(f"{n:,} {words.get(name, name)}" for name, n in counts.items())


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _figure(value: float) -> str:
    return "not defined" if pd.isna(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share in (0, 1) or share >= 0.1 else f"{100 * share:.1f} %"
