"""Every table of a collection, with a comment for each column: what it means, its unit, who writes it.

A row that does not count stays in its table and says why in `dropped`. Times are UTC. Paths are relative to the workspace
or are URIs. `image_id` is the sha256 of the original bytes, everywhere.
"""

from __future__ import annotations

from schemas.table import Column, Table

C = Column

_IMAGE_ID = C("image_id", "string", "sha256 of the original bytes, 64 hex characters")
_TASK = C("task", "string", "task the row belongs to, the name of its task file")
_DROPPED = C("dropped", "string", "why the row does not count; missing = it counts", null=True)

SPLIT_NAMES = ("train", "val", "test", "unlabeled", "out")

LISTINGS = Table(
    "listings",
    ("marketplace", "listing_id"),
    "curate scrape` or `curate import",
    (
        C("marketplace", "string", "where it is sold, e.g. mx.example; a folder import is `local`"),
        C("listing_id", "string", "the marketplace's own id, else its URL; folder import: relative path"),
        C("country", "string", "ISO 3166 two letters", null=True),
        C("language", "string", "BCP 47, from the page", null=True),
        C("url", "string", "canonical address of the page", null=True),
        C("title", "string", "product name as written", null=True),
        C("brand", "string", "brand as written", null=True),
        C("category", "string", "category as written", null=True),
        C("price_raw", "string", "price as written on the page", null=True),
        C("price", "float64", "price parsed, in `currency`", null=True),
        C("currency", "string", "ISO 4217", null=True),
        C("attributes", "map", "everything else the page says, name to value", null=True),
        C("license", "string", "license of text and pictures, when known", null=True),
        C("permission", "string", "why we may collect it, as given by the user", null=True),
        C(
            "source",
            "string",
            "what its name was read from: json-ld, microdata, opengraph, data-layer, rules; or feed, abo, folder, s3, parquet",
        ),
        C("first_seen_at", "time", "when it first came in; never changes"),
        C("fetched_at", "time", "when it was last read"),
        _DROPPED,
    ),
)

PICTURES = Table(
    "pictures",
    ("image_id",),
    "curate scrape` or `curate import",
    (
        _IMAGE_ID,
        C(
            "blob",
            "string",
            "where the original bytes are: blobs/ab/abcd….jpg below the workspace, or s3://bucket/prefix/blobs/ab/abcd….jpg",
        ),
        C("bytes", "int64", "size of the original"),
        C("format", "string", "what the bytes really are (JPEG, PNG, …); `curate check`", null=True),
        C("mode", "string", "Pillow mode of the original; `curate check`", null=True),
        C("frames", "int32", "1, or more when animated; `curate check`", null=True),
        C("width_px", "int32", "width as a person sees it, EXIF turn applied; `curate check`", null=True),
        C("height_px", "int32", "height as a person sees it; `curate check`", null=True),
        C(
            "pixels_sha256",
            "string",
            "sha256 of the upright RGB pixels; only where another picture could be equal; `curate check`",
            null=True,
        ),
        C(
            "hash_algo",
            "string",
            "name and version of the hash code; hashes of different names never compare",
            null=True,
        ),
        C("phash64", "uint64", "perceptual hash, 64 bits; `curate check`", null=True),
        C("phash256", "bytes", "perceptual hash, 32 bytes; `curate check`", null=True),
        C("sharpness", "float64", "variance of the Laplacian of the gray picture at 128 px; low = blurred", null=True),
        C("brightness", "float64", "mean gray, 0 to 255; `curate check`", null=True),
        C(
            "blur",
            "float64",
            "variance of the Laplacian of all pixels; low = blurred; `curate check --blur`",
            null=True,
        ),
        _DROPPED,
    ),
)

APPEARANCES = Table(
    "appearances",
    ("image_id", "marketplace", "listing_id", "position"),
    "curate scrape` or `curate import",
    (
        _IMAGE_ID,
        C("marketplace", "string", "of the listing"),
        C("listing_id", "string", "of the listing"),
        C("position", "int32", "place in the listing's gallery, 0 = main picture"),
        C("url", "string", "address of the picture; folder import: relative path", null=True),
        C("first_seen_at", "time", "when this listing first showed this picture"),
        C(
            "dropped",
            "string",
            "why the listing shows it no more: replaced, no longer shown, opted out; null = it does. The two still belong together, in groups",
            null=True,
        ),
    ),
)

FAILURES = Table(
    "failures",
    ("url",),
    "curate scrape` or `curate import",
    (
        C(
            "url",
            "string",
            "what could not be fetched or used; of a row of an import FILE#LINE, and /N for its Nth picture",
        ),
        C("kind", "string", "page, product, picture, or row of an import"),
        C("marketplace", "string", "where it belongs; of a row that could not be used, its source"),
        C("listing_id", "string", "of the listing, for a picture", null=True),
        C("status", "int32", "HTTP status, when there was one", null=True),
        C("tries", "int32", "how often it was asked for"),
        C("dropped", "string", "why: forbidden by robots.txt, HTTP 404, not a picture, …"),
        C("fetched_at", "time", "last try", null=True),
    ),
)

LOOKS = Table(
    "looks",
    ("image_id",),
    "curate check",
    (
        _IMAGE_ID,
        C("look_algo", "string", "name and version of the code; looks of different names never compare"),
        C("mirror64", "uint64", "phash64 of the picture in a mirror"),
        C("mirror256", "bytes", "phash256 of the picture in a mirror"),
        C("inner64", "uint64", "phash64 without 6 % of each side"),
        C("inner256", "bytes", "phash256 without 6 % of each side"),
        C("trimmed64", "uint64", "phash64 without its plain border; missing where it has none", null=True),
        C("trimmed256", "bytes", "phash256 without its plain border", null=True),
        C("trimmed_mirror64", "uint64", "phash64 without its border, in a mirror", null=True),
        C("trimmed_mirror256", "bytes", "phash256 without its border, in a mirror", null=True),
        C("colors", "bytes", "mean Cb and Cr of 8 x 8 fields without the border, 128 bytes"),
        C("inner_colors", "bytes", "the same without 6 % of each side"),
    ),
)

PAIRS = Table(
    "pairs",
    ("image_id_a", "image_id_b"),
    "curate dedup",
    (
        C("image_id_a", "string", "the smaller id of the pair"),
        C("image_id_b", "string", "the larger id of the pair"),
        C("how", "string", "in which form they are nearest: whole, trimmed (a border apart), mirror, trimmed_mirror, inner (cropped)"),
        C("distance64", "int32", "bits of 64 between the hashes in that form"),
        C("distance256", "int32", "bits of 256 between the fine hashes in that form"),
        C("detail", "float64", "correlation of fine structure where they fit best, 1 = the same; missing = was not needed", null=True),
        C("color", "float64", "mean difference of chroma in 8 x 8 fields, levels of 255", null=True),
        C("similarity", "float64", "cosine of their vectors, where both have one", null=True),
        C("verified", "bool", "true = near twins, in one cluster unless a person says otherwise"),
        C("reason", "string", "why a person should look: what speaks against it; refused: nobody is asked", null=True),
    ),
)  # fmt: skip

SKIPPED = Table(
    "skipped",
    ("mask", "value"),
    "curate dedup",
    (
        C("mask", "string", "which of the 64 bits they share, 16 hex digits; ffffffffffffffff = all, left out altogether"),
        C("value", "string", "what these bits are, 16 hex digits"),
        C("hashes", "int64", "how many hashes share them; a picture has up to five: whole, trimmed, mirrored, cropped"),
        C("example", "string", "image_id of one picture among them", null=True),
    ),
)  # fmt: skip

CLUSTERS = Table(
    "clusters",
    ("image_id",),
    "curate dedup",
    (
        _IMAGE_ID,
        C("cluster_id", "string", "the image_id of its first representative; permanent, a merge keeps the oldest"),
        C("representative", "bool", "true for the one picture of the cluster that people are asked about"),
        C(
            "kind",
            "string",
            "single (alone), verified (near twin), trimmed (but for a border), cropped, mirror, decided (by a person), exact (same pixels)",
        ),
        C("distance", "int32", "bits between this picture's hash and the representative's; 0 for itself"),
    ),
)

CONFLICTS = Table(
    "label_conflicts",
    ("image_id", "task"),
    "curate dedup",
    (
        _IMAGE_ID,
        _TASK,
        C("cluster_id", "string", "cluster whose pictures carry different labels"),
        C("label", "string", "class key that this one of them carries"),
    ),
)

DECISIONS = Table(
    "decisions",
    ("image_id_a", "image_id_b"),
    "curate dedup --review",
    (
        C("image_id_a", "string", "the smaller id of the pair"),
        C("image_id_b", "string", "the larger id of the pair"),
        C("decision", "string", "same or different"),
        C("decided_by", "string", "who"),
        C("decided_at", "time", "when"),
    ),
)

GOLD = Table(
    "gold",
    ("image_id", "task"),
    "curate gold import` or `curate gold label",
    (
        _IMAGE_ID,
        _TASK,
        C("label", "string", "class key that an expert gave"),
        C("use", "string", "test (entry test), hidden (mixed into HITs) or practice; test and hidden never overlap"),
        C("explanation", "string", "shown after a wrong answer in practice", null=True),
        C("source", "string", "who says so"),
    ),
)

TRUTH = Table(
    "truth",
    ("image_id", "task"),
    "curate import folder` or `curate import truth",
    (
        _IMAGE_ID,
        _TASK,
        C("label", "string", "known class key; only simulated workers and scoring may read it, never `train`"),
        C("source", "string", "where it is known from"),
    ),
)

WEAK_LABELS = Table(
    "weak_labels",
    ("image_id", "attribute", "language", "value", "source"),
    "curate import abo",
    (
        _IMAGE_ID,
        C("attribute", "string", "what the seller speaks of: pattern, style, color"),
        C("language", "string", "BCP 47 language of the value; `und` where it is not said"),
        C("value", "string", "as the seller wrote it"),
        C("label", "string", "class key by the value map; missing = the map does not know the value", null=True),
        C("source", "string", "where it is from: abo. A weak label is said of a product, unseen: it is never a LABEL"),
    ),
)

HITS = Table(
    "hits",
    ("hit_id", "image_id"),
    "curate hits create",
    (
        C("hit_id", "string", "the endpoint's id of the question page"),
        _IMAGE_ID,
        _TASK,
        C("position", "int32", "place of the picture in the HIT, from 0"),
        C("round", "int32", "1 for the first asking"),
        C("purpose", "string", "label, pilot (its votes do not count unless kept) or tie-break", null=True),
        C("chosen_by", "string", "why this picture: random, uncertain, rare, recheck, gold, …"),
        C("reward_usd", "float64", "paid for one assignment of the whole HIT"),
        C("max_assignments", "int32", "answers asked for"),
        C("endpoint", "string", "URL of the crowd that was asked"),
        C("question_version", "int32", "of the task file at creation"),
        C("taxonomy_version", "int32", "of the task file at creation"),
        C("created_at", "time", "when the HIT was made"),
    ),
)

VOTES = Table(
    "votes",
    ("assignment_id", "image_id", "task"),
    "curate hits collect` or `curate import votes",
    (
        C("assignment_id", "string", "one worker's pass over one HIT"),
        _IMAGE_ID,
        _TASK,
        C("hit_id", "string", "of the HIT"),
        C("worker_id", "string", "A…, random; only the crowd's store knows the person"),
        C("round", "int32", "of the HIT"),
        C("endpoint", "string", "URL of the crowd that answered"),
        C("assignment_status", "string", "Submitted, Approved or Rejected"),
        C("source", "string", "crowd, simulated or imported; never mixed in one aggregation"),
        C("answer", "string", "as the worker gave it", null=True),
        C("label", "string", "class key; missing when the answer is none", null=True),
        C("submitted_at", "time", "when the assignment came in"),
        C(
            "seconds",
            "float64",
            "time spent on this picture, or the assignment's time divided by its pictures",
            null=True,
        ),
        C("chosen_by", "string", "why the picture was asked about, of imported votes; else HITS say it", null=True),
        C("taxonomy_version", "int32", "class list that `label` is a key of; missing = that of its HIT", null=True),
        _DROPPED,
    ),
)

LABELS = Table(
    "labels",
    ("image_id", "task"),
    "curate aggregate",
    (
        _IMAGE_ID,
        _TASK,
        C("label", "string", "class key that the votes agree on; missing = unlabeled", null=True),
        C(
            "source",
            "string",
            "crowd, simulated, expert, import, duplicate (taken from an exact copy) or twin (from its cluster: --inherit)",
            null=True,
        ),
        C("n_votes", "int32", "votes that counted"),
        C("n_agree", "int32", "votes for the most frequent class"),
        C(
            "label_probs",
            "list<float64>",
            "share of the votes per class, or a model's posterior, in the file's class order",
            null=True,
        ),
        C("method", "string", "rule or model that made the label: majority, plurality, dawid-skene, …", null=True),
        C("chosen_by", "string", "why the picture was asked about, from HITS", null=True),
        C(
            "dropped",
            "string",
            "why there is no label: no_votes, insufficient, no_agreement, cannot see the picture (two people said so), gold",
            null=True,
        ),
    ),
)

GIVEN = Table(
    "given",
    ("image_id", "task", "source"),
    "curate import labels` or `curate adjudicate",
    (
        _IMAGE_ID,
        _TASK,
        C("label", "string", "class key that was given whole, not counted from votes"),
        C("source", "string", "expert (wins over votes) or import (stands where votes make no label)"),
        C("given_by", "string", "who, or the file it came from"),
        C("given_at", "time", "when it came in"),
        C("chosen_by", "string", "why these pictures were labeled: random, …; only random is tested on", null=True),
        C("note", "string", "reason given by a person", null=True),
    ),
)

EXCLUSIONS = Table(
    "exclusions",
    ("worker_id", "task"),
    "curate workers exclude",
    (
        C("worker_id", "string", "whose votes do not count"),
        _TASK,
        C("reason", "string", "why, as a person decided"),
        C("decided_by", "string", "who"),
        C("decided_at", "time", "when"),
    ),
)

SPLITS = Table(
    "splits",
    ("image_id", "task"),
    "curate split",
    (
        _IMAGE_ID,
        _TASK,
        C("group_id", "string", "pictures that must stay on one side: cluster, listing, same bytes"),
        C("split", "string", "train, val, test, unlabeled or out"),
        C("split_reason", "string", "why it is out; or fixed (given by a file), filled (val or test, not chosen at random)", null=True),
        C("side", "string", "train, val or test once decided: kept while it is out, so what was tested on never trains", null=True),
        C("label_rank", "float64", "0 to 1, nested: `--label-fraction 0.5` takes train rows below 0.5", null=True),
        C("unlabeled_rank", "float64", "0 to 1, nested order of the unlabeled pool", null=True),
        C("since", "time", "when this row was decided; a frozen row never moves"),
        C("seed", "int64", "seed that decided it"),
    ),
)  # fmt: skip

MANIFEST = Table(
    "manifest",
    ("image_id",),
    "curate split",
    (
        _IMAGE_ID,
        C("path", "string", "the picture's bytes: relative to the workspace, or s3://bucket/key"),
        C("label", "string", "class key; missing = unlabeled", null=True),
        C("split", "string", "train, val, test, unlabeled or out; missing before the first `curate split`", null=True),
        C("split_reason", "string", "why it is out; or fixed (given by a file), filled (val or test, not chosen at random)", null=True),
        _DROPPED,
        C("n_votes", "int32", "votes that counted", null=True),
        C("n_agree", "int32", "votes for the label", null=True),
        C("label_rank", "float64", "nested rank of labeled train rows", null=True),
        C("unlabeled_rank", "float64", "nested rank of the unlabeled pool", null=True),
        C("group_id", "string", "never crosses a split", null=True),
        C("cluster_id", "string", "near twins share it", null=True),
        C("marketplace", "string", "the first by first_seen_at", null=True),
        C("marketplaces", "list<string>", "all that show the picture, sorted", null=True),
        C("listing_id", "string", "the first by first_seen_at", null=True),
        C("chosen_by", "string", "why people were asked about it", null=True),
        C("width_px", "int32", "upright width", null=True),
        C("height_px", "int32", "upright height", null=True),
        C("label_probs", "list<float64>", "share of the votes per class, in the file's class order", null=True),
        C("votes", "votes", "the single votes, workers by pseudonym", null=True),
    ),
)  # fmt: skip

PREDICTIONS = Table(
    "predictions",
    ("image_id", "run", "task"),
    "curate probe`, `train resnet18`, `train vit`, `train semivit` or `train predict",
    (
        _IMAGE_ID,
        C("run", "string", "name of the run folder"),
        _TASK,
        C("manifest_id", "string", "of the manifest it was made on"),
        C("model_id", "string", "hash of the weights"),
        C("fold", "int32", "out-of-fold number; missing = not out of fold", null=True),
        C("split", "string", "of the picture in that manifest", null=True),
        C("label", "string", "of the picture in that manifest", null=True),
        C("predicted", "string", "most probable class key"),
        C("probs", "list<float32>", "probability per class, in the file's class order"),
        C("temperature", "float64", "what the logits were divided by, 1 = as trained"),
        C("path", "string", "where the picture was, for pictures of no manifest", null=True),
    ),
)

ANSWERS = Table(
    "answers",
    ("marketplace", "listing_id", "run", "task"),
    "train predict --listings",
    (
        C("marketplace", "string", "of the listing; local for folders"),
        C("listing_id", "string", "of the listing; for folders the folder's name, or the file's"),
        C("run", "string", "name of the run folder"),
        _TASK,
        C("model_id", "string", "hash of the weights"),
        C("n_pictures", "int32", "of the listing that could be read"),
        C("answer", "string", "class key; missing = the model abstains, `dropped` says why", null=True),
        C("guess", "string", "most probable class key, also where the model abstains", null=True),
        C("confidence", "float64", "probability of the guess", null=True),
        C("threshold", "float64", "confidence that the guess needs; missing = its class always abstains, or none was asked for", null=True),
        C("precision", "float64", "wished precision of the answers; missing = every listing is answered", null=True),
        C("probs", "list<float32>", "probability per class, in the file's class order: the pictures' logarithms averaged", null=True),
        C("temperature", "float64", "what the logits were divided by"),
        _DROPPED,
    ),
)  # fmt: skip

SELECTION = Table(
    "selection",
    ("image_id", "task"),
    "curate select",
    (
        _IMAGE_ID,
        _TASK,
        C("purpose", "string", "label or recheck"),
        C(
            "chosen_by",
            "string",
            "random, uncertain, disputed, rare, diverse, marketplace, recheck; becomes chosen_by of its HIT",
        ),
        C("score", "float64", "higher = asked sooner", null=True),
        C("reason", "string", "the score in words", null=True),
        C("label", "string", "class key it has now", null=True),
        C("predicted", "string", "class key the model gives it", null=True),
        C("assignments", "int32", "further answers to ask for"),
        C("rank", "int32", "0 = first"),
    ),
)

WORKERS = Table(
    "workers",
    ("worker_id", "task"),
    "curate workers",
    (
        C("worker_id", "string", "A…, random"),
        _TASK,
        C("n_votes", "int32", "votes that count, or would if the worker was not excluded, unqualified or rejected"),
        C("gold_n", "int32", "votes on gold pictures"),
        C("gold_correct", "int32", "of them right"),
        C("gold_low", "float64", "lower end of the 95 % Wilson interval of gold accuracy", null=True),
        C("gold_high", "float64", "upper end of it", null=True),
        C("agreement_n", "int32", "votes where the others had a majority"),
        C("agreement", "float64", "share of these votes equal to what more than half of the others say (leave-one-out)", null=True),
        C("median_seconds", "float64", "per picture", null=True),
        C("spammer_score", "float64", "0 = answers tell nothing about the picture, 1 = every class has an answer of its own (Raykar and Yu 2012)", null=True),
        C("top_share", "float64", "share of the most frequent answer", null=True),
        C("longest_run", "int32", "most equal answers in a row; missing where votes have no time", null=True),
        C("flags", "list<string>", "what looks wrong, each with its figure", null=True),
        C("confusion", "list<float64>", "K x K by rows: P(said column | answer is row), in the file's class order; answer: gold, else the majority of the others; NaN where it never came", null=True),
        C("excluded", "string", "reason of the exclusion, where a person decided one", null=True),
    ),
)  # fmt: skip

AGREEMENT = Table(
    "agreement",
    ("scope", "name"),
    "curate agreement",
    (
        C("scope", "string", "overall, class or marketplace"),
        C("name", "string", "the class or marketplace; overall: all"),
        C("n_images", "int32", "pictures with two votes or more; class: of them those where somebody said it"),
        C("n_votes", "int32", "votes on them that counted; class: for this class"),
        C("alpha", "float64", "Krippendorff's alpha, nominal; class: against all others; 1 where all votes are one class", null=True),
        C("kappa", "float64", "Fleiss' kappa, generalized to unequal numbers of votes; 1 where all votes are one class", null=True),
        C("agreement", "float64", "share of pairs of votes on one picture that are equal; class: of the pairs with it in them, counted from its votes", null=True),
    ),
)  # fmt: skip

CONFUSIONS = Table(
    "confusions",
    ("class_a", "class_b"),
    "curate agreement",
    (
        C("class_a", "string", "class key, before class_b in the class order"),
        C("class_b", "string", "class key"),
        C("n_images", "int32", "pictures where somebody said one and somebody the other"),
        C("share_a", "float64", "of the pictures where somebody said class_a"),
        C("share_b", "float64", "of the pictures where somebody said class_b"),
    ),
)

PACK = Table(
    "pack",
    ("image_id",),
    "curate pack",
    (
        _IMAGE_ID,
        C("jpeg", "bytes", "the picture as a person sees it, JPEG, short side as the file's metadata says", null=True),
        C("width_px", "int32", "of the JPEG", null=True),
        C("height_px", "int32", "of the JPEG", null=True),
        C("dropped", "string", "why there is no JPEG", null=True),
    ),
)

LEDGER = Table(
    "ledger",
    ("entry_id",),
    "curate hits create",
    (
        C("entry_id", "string", "one movement of money, permanent"),
        C("at", "time", "when it was written"),
        C("task", "string", "whose budget it counts against"),
        C("kind", "string", "reserved, released, earned, bonus, fee, paid"),
        C("amount_usd", "float64", "dollars; a release is negative"),
        C("hit_id", "string", "of the HIT", null=True),
        C("assignment_id", "string", "of the assignment", null=True),
        C("worker_id", "string", "to whom", null=True),
        C("note", "string", "reason given by a person", null=True),
    ),
)

EMBEDDINGS = Table(
    "embeddings",
    ("image_id", "model_id"),
    "curate embed",
    (
        _IMAGE_ID,
        C("model_id", "string", "name and hash of the model; vectors of different models never compare"),
        C("vector", "list<float32>", "unit length"),
    ),
)

LEAKS = Table(
    "leaks",
    ("image_id", "other_id"),
    "curate leaks",
    (
        C("image_id", "string", "the test or val picture"),
        C("other_id", "string", "the picture on the other side that is like it"),
        C("split", "string", "of the picture: test or val"),
        C("other_split", "string", "of the other one: val, train or unlabeled"),
        C("kind", "string", "same pixels, near twin, or look-alike (for a person to judge)"),
        C("mirrored", "bool", "the other one is the mirror image"),
        C("leak", "bool", "true for same pixels and near twins of test pictures: what must not be"),
        C("distance64", "int32", "bits of 64 between the hashes", null=True),
        C("distance256", "int32", "bits of 256 between the fine hashes", null=True),
        C("detail", "float64", "correlation of fine structure where the pictures fit best, 1 = the same", null=True),
        C("similarity", "float64", "cosine of the vectors, 1 = the same", null=True),
        C("label", "string", "class key of the picture", null=True),
        C("other_label", "string", "class key of the other one", null=True),
        C("path", "string", "of the picture, as in the manifest"),
        C("other_path", "string", "of the other one"),
        C("same_group", "bool", "both carry one group_id, so the split is broken, not the clusters"),
    ),
)

FORGOTTEN = Table(
    "forgotten",
    ("kind", "hash"),
    "curate forget",
    (
        C("kind", "string", "image, listing or seller"),
        C("hash", "string", "sha256 of the workspace's salt and the name; what has this hash is not taken in again"),
        C("forgotten_at", "time", "when"),
        C("forgotten_by", "string", "who said so"),
        C("reason", "string", "why, as a person gave it", null=True),
        C("rows", "int32", "rows of all tables that went in that run", null=True),
    ),
)

TABLES = (
    LISTINGS, PICTURES, APPEARANCES, FAILURES, LOOKS, PAIRS, SKIPPED, CLUSTERS, CONFLICTS, DECISIONS, GOLD, TRUTH, WEAK_LABELS,
    HITS, VOTES, LABELS,
    GIVEN, EXCLUSIONS,
    SPLITS, MANIFEST, PREDICTIONS, ANSWERS, SELECTION, WORKERS, AGREEMENT, CONFUSIONS, PACK, LEDGER, EMBEDDINGS,
    LEAKS, FORGOTTEN,
)  # fmt: skip
