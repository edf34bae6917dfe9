"""Writes docs/blueprints-catalogue.md from the catalogue. Run: python -m tests.karn.catalogue_page"""

from collections.abc import Iterable
from pathlib import Path

from esper.karn.catalogue import CATALOGUE, traits, versioned
from esper.karn.manifest import REFERENCE_SIZES, latencies, manifest, reference_site
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintParameterBounds
from esper.leyline.v1.enums_pb2 import BlendMode, BlueprintTier, SiteKind

PAGE = Path(__file__).parents[2] / "docs" / "blueprints-catalogue.md"
BEGIN, END = "<!-- what follows is written by tests/karn/catalogue_page.py -->\n", "<!-- until here -->\n"


def table() -> str:
    """Return what is to stand between the marks."""
    return "\n".join(["", *_rows(), "", *_costs(), "", *_notes(), ""])


def _rows() -> Iterable[str]:
    yield "| id | name | tier | risk | stage | kinds | joins | parameters (bounds, default) | what it is |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in CATALOGUE.values():
        kinds = "".join(SiteKind.Name(kind).removeprefix("SITE_KIND_")[0] for kind in row.kinds)
        joins = BlendMode.Name(row.blend_mode).removeprefix("BLEND_MODE_").lower()
        tier = BlueprintTier.Name(row.tier).removeprefix("BLUEPRINT_TIER_").lower().replace("_", " ")
        spans = " + spans" if row.spans else ""
        yield (
            f"| {versioned(row)} | {row.name} | {tier} | {row.risk:g} | {row.stage} | {kinds}{spans} | {joins} | "
            f"{_parameters(row)} | {row.description} |"
        )


def _parameters(row: BlueprintDescriptor) -> str:
    logarithmic = traits(row.blueprint_id).logarithmic
    said = (
        f"{name} {_bounds(bounds)}{' (log)' if name in logarithmic else ''}"
        for name, bounds in sorted(row.allowed_parameters.items())
    )
    return "; ".join(said) or "-"


def _bounds(bounds: BlueprintParameterBounds) -> str:
    dots = ".." if bounds.integer else " to "
    return f"{bounds.min_value:g}{dots}{bounds.max_value:g}, {bounds.default_value:g}"


def _costs() -> Iterable[str]:
    sizes = ", ".join(
        f"{SiteKind.Name(kind).removeprefix('SITE_KIND_').lower()} {'x'.join(map(str, size))}"
        for kind, size in REFERENCE_SIZES.items()
    )
    measured = latencies()
    yield "## What they cost"
    yield ""
    yield f"At the reference sites ({sizes}), with default parameters. Milliseconds are of a batch of {measured.batch},"
    yield f"forward and backward: {measured.machine}."
    yield ""
    yield "| id | kind | parameters | operations of a sample | ms | a step of a sequence reads | prior |"
    yield "|---|---|---|---|---|---|---|"
    for row in CATALOGUE.values():
        for kind in () if row.quarantine_only else row.kinds:
            page = manifest(row.blueprint_id, {}, reference_site(kind))
            word = SiteKind.Name(kind).removeprefix("SITE_KIND_").lower()
            took = "-" if page.latency_ms is None else f"{page.latency_ms:.2f}"
            prior = "-" if page.prior is None else f"{page.prior:.2f}"
            reads = page.reach if word == "sequence" else ""
            yield f"| {row.blueprint_id} | {word} | {page.parameters:,} | {page.flops:,} | {took} | {reads} | {prior} |"


def _notes() -> Iterable[str]:
    yield "## Capabilities, companions and exceptions"
    yield ""
    for row in CATALOGUE.values():
        special = traits(row.blueprint_id)
        said = [
            "mergeable into the linear layer beside it" if special.mergeable else "",
            "a safe action: it changes nothing that flows forward" if special.safe_action else "",
            f"made for {special.needs}" if special.needs else "",
            f"brings along {special.companion}" if special.companion else "",
            special.note,
        ]
        if any(said):
            yield f"- **{row.blueprint_id}** {row.name}: {'; '.join(each for each in said if each)}."


def whole(page: str) -> str:
    """Return *page* with the table as the catalogue has it."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(whole(PAGE.read_text()))
