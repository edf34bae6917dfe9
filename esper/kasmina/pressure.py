"""Growth pressure: how much of what the host wishes for at a site a small probe could give it.

The probe is ridge regression on random features of what the site reads, fitted to the negative functional gradient.
What it explains is measured on samples that neither its weights, its ridge nor its features have seen.
"""

from collections.abc import Callable
from typing import cast

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from esper.kasmina.finite import all_finite
from esper.kasmina.window import Window
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.site_pb2 import SitePressure

# Dimensions: N samples, P positions, R rows (a sample, or one position of it), I probe inputs, K features, D outputs,
# C channels, H height, W width.

SPLIT, CHOOSING, HELD_OUT = 4, 1, 3
FEATURES = 256
FILTERS = 24
FILTER_GRID = 3
RIDGES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)
MAX_ROWS = 8192
# A sequence's next element is mostly chance: what can be wished for is a small part, and takes many rows to be seen.
MAX_SEQUENCE_ROWS = 65536
# A feature that is nearly constant has huge standard scores where it is not; one of them could ruin a fit.
MAX_STANDARD_SCORE = 5.0
CACHED_SAMPLES = 128


class Rows(msgspec.Struct, frozen=True):
    """What the probe predicts from: a sample's features, or those around some of its positions; and the wish there."""

    features_RK: Tensor
    wish_RD: Tensor
    per_sample: int


def pressure(seed_id: str, window: Window, random_seed: int) -> SitePressure | None:
    """Fit a probe to the negative functional gradient in *window*; report how well it does on samples it has not seen.

    Of every four samples two fit the probe, one chooses its ridge (then all three fit it), and one is held out. Images
    that lead to a vector are read through random convolutions; for a site whose output has positions (image,
    sequence) the probe is local: it predicts each position from the input around that position, so what only a seed
    with a wide view could predict is not seen. The more samples, the weaker the wish that can be told from noise.

    None if the probe knows no way to read this kind of site, or the window holds too few samples, or numbers that
    are not finite.
    """
    read = READERS.get((window.shape.input_kind, window.shape.output_kind))
    if read is None or window.samples < 2 * SPLIT:
        return None
    entry, gradient = window.input.float().cpu(), window.gradient.float().cpu()
    rows = read(entry, gradient, torch.Generator().manual_seed(random_seed))
    if not (all_finite(rows.features_RK) and all_finite(rows.wish_RD)):
        return None
    part_R = torch.arange(window.samples).repeat_interleave(rows.per_sample) % SPLIT
    predicted_RD = _prediction(rows, part_R)
    wished_RD = rows.wish_RD[part_R == HELD_OUT]
    unexplained = (wished_RD - predicted_RD).square().sum().item()
    variance = (wished_RD - wished_RD.mean(0)).square().sum().item()
    return SitePressure(
        seed_id=seed_id,
        shape=window.shape,
        r_squared=1.0 - unexplained / variance if variance > 0.0 else 0.0,
        predicted_loss_decrease=_best_step_gain((wished_RD * predicted_RD).sum(1).view(-1, rows.per_sample).mean(1)),
        gradient_rms=gradient.square().mean().sqrt().item(),
        samples=window.samples,
        rows=len(part_R),
    )


def _best_step_gain(agreement_N: Tensor) -> float:
    """Return the loss decrease of the best step along the prediction; below zero if it leads the wrong way.

    *agreement_N* is the product of wish and prediction, per sample. A step of length t changes the loss by
    -t E[a] + t^2/2 E[a^2], where the mean square stands for the curvature (the empirical Fisher information). To first
    order alone, sites with large gradients would always win, by steps far longer than the loss is straight.
    """
    mean, mean_square = agreement_N.double().mean().item(), agreement_N.double().square().mean().item()
    return mean * abs(mean) / (2.0 * mean_square) if mean_square > 0.0 else 0.0


def _prediction(rows: Rows, part_R: Tensor) -> Tensor:
    """Return what ridge regression predicts for the held-out rows."""
    known_R, choosing_R = part_R != HELD_OUT, part_R == CHOOSING
    scores_RK = standard_scores(rows.features_RK, known_R)
    mean_D = rows.wish_RD[known_R].mean(0)
    fitting, choosing = (
        (scores_RK[chosen], rows.wish_RD[chosen] - mean_D) for chosen in (known_R & ~choosing_R, choosing_R)
    )
    gram_KK, wish_KD = _moments(*fitting)
    more_KK, more_KD = _moments(*choosing)

    def error(ridge: float) -> float:
        weights_KD = _weights(gram_KK, wish_KD, ridge * len(fitting[0]))
        return (choosing[1] - choosing[0] @ weights_KD).square().sum().item()

    count = len(fitting[0]) + len(choosing[0])
    weights_KD = _weights(gram_KK + more_KK, wish_KD + more_KD, min(RIDGES, key=error) * count)
    return scores_RK[~known_R] @ weights_KD + mean_D


def _moments(scores_RK: Tensor, wish_RD: Tensor) -> tuple[Tensor, Tensor]:
    return (scores_RK.T @ scores_RK).double(), (scores_RK.T @ wish_RD).double()


def _weights(gram_KK: Tensor, wish_KD: Tensor, ridge: float) -> Tensor:
    penalised_KK = gram_KK + ridge * torch.eye(len(gram_KK), dtype=gram_KK.dtype)
    lower_KK = cast("Tensor", torch.linalg.cholesky(penalised_KK))
    return torch.cholesky_solve(wish_KD, lower_KK).float()


def standard_scores(values_RK: Tensor, known_R: Tensor) -> Tensor:
    """Return *values_RK* with mean 0 and deviation 1 over the known rows, and no score beyond the limit."""
    known = values_RK[known_R]
    spread_K = known.std(0)
    spread_K = torch.where(spread_K > 1e-6, spread_K, torch.ones_like(spread_K))
    return ((values_RK - known.mean(0)) / spread_K).clamp_(-MAX_STANDARD_SCORE, MAX_STANDARD_SCORE)


def _random_features(inputs_RI: Tensor, samples_R: Tensor, draws: torch.Generator) -> Tensor:
    scores_RI = standard_scores(inputs_RI, samples_R % SPLIT != HELD_OUT)
    directions_IK = torch.randn(scores_RI.shape[1], FEATURES, generator=draws) / scores_RI.shape[1] ** 0.5
    return torch.relu_(torch.addmm(torch.randn(FEATURES, generator=draws), scores_RI, directions_IK))


def _whole_vector(entry_NI: Tensor, gradient_ND: Tensor, draws: torch.Generator) -> Rows:
    return Rows(_random_features(entry_NI, torch.arange(len(entry_NI)), draws), -gradient_ND, 1)


def _pooled_sequence(entry_NPI: Tensor, gradient_ND: Tensor, draws: torch.Generator) -> Rows:
    return _whole_vector(entry_NPI.mean(1), gradient_ND, draws)


def _filtered_image(entry_NCHW: Tensor, gradient_ND: Tensor, draws: torch.Generator) -> Rows:
    """Read an image through 3x3 filters that are patches of other samples, averaged over a coarse grid.

    Filters made of the data beat random ones (Coates, Lee and Ng 2011).
    """
    side = 12 if entry_NCHW.shape[1] <= 4 else 6
    images = _shrunk(entry_NCHW, side, side)
    known_N = torch.arange(len(images)) % SPLIT != HELD_OUT
    spread, mean = images[known_N].std((0, 2, 3), keepdim=True), images[known_N].mean((0, 2, 3), keepdim=True)
    scores = (images - mean) / torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    filters = _patch_filters(scores[known_N], draws)
    offsets = torch.randn(FILTERS, generator=draws)
    batches = cast("tuple[Tensor, ...]", scores.split(CACHED_SAMPLES))
    found = [F.conv2d(batch, filters, offsets, padding=1).relu_() for batch in batches]
    return Rows(torch.cat([F.adaptive_avg_pool2d(maps, FILTER_GRID).flatten(1) for maps in found]), -gradient_ND, 1)


def _patch_filters(images_NCHW: Tensor, draws: torch.Generator) -> Tensor:
    """Draw 3x3 patches, each with mean 0, a little noise (a patch may be flat) and length 1."""
    patches = F.unfold(images_NCHW[torch.randint(len(images_NCHW), (FILTERS,), generator=draws)], 3, padding=1)
    places = torch.randint(patches.shape[2], (FILTERS,), generator=draws)
    filters = patches[torch.arange(FILTERS), :, places]
    filters = filters - filters.mean(1, keepdim=True) + 0.1 * torch.randn(filters.shape, generator=draws)
    return F.normalize(filters, dim=1).view(FILTERS, -1, 3, 3)


def _shrunk(images_NCHW: Tensor, height: int, width: int) -> Tensor:
    size = (min(height, images_NCHW.shape[2]), min(width, images_NCHW.shape[3]))
    return images_NCHW if images_NCHW.shape[2:] == size else F.adaptive_avg_pool2d(images_NCHW, size)


def _steps_of_sequence(entry_NPI: Tensor, gradient_NPD: Tensor, draws: torch.Generator) -> Rows:
    if entry_NPI.shape[1] != gradient_NPD.shape[1]:
        entry_NPI = F.adaptive_avg_pool1d(entry_NPI.transpose(1, 2), gradient_NPD.shape[1]).transpose(1, 2)
    samples_R, places_R, per_sample = _some_positions(
        len(gradient_NPD), gradient_NPD.shape[1], draws, MAX_SEQUENCE_ROWS
    )
    features_RK = _random_features(entry_NPI[samples_R, places_R], samples_R, draws)
    return Rows(features_RK, -gradient_NPD[samples_R, places_R], per_sample)


def _patches_of_image(entry_NCHW: Tensor, gradient_NDHW: Tensor, draws: torch.Generator) -> Rows:
    height, width = gradient_NDHW.shape[2:]
    samples_R, places_R, per_sample = _some_positions(len(gradient_NDHW), height * width, draws)
    rows_R, columns_R = places_R // width, places_R % width
    # At most twice the output's size, so that a long stride does not make the patches large.
    entry_NCHW = _shrunk(entry_NCHW, 2 * height, 2 * width)
    down_RA, inside_down_RA = _reach(rows_R, entry_NCHW.shape[2], height)
    right_RB, inside_right_RB = _reach(columns_R, entry_NCHW.shape[3], width)
    patches_RABC = entry_NCHW[samples_R[:, None, None], :, down_RA[:, :, None], right_RB[:, None, :]]
    patches_RABC = patches_RABC * (inside_down_RA[:, :, None] & inside_right_RB[:, None, :])[..., None]
    features_RK = _random_features(patches_RABC.flatten(1), samples_R, draws)
    return Rows(features_RK, -gradient_NDHW[samples_R, :, rows_R, columns_R], per_sample)


def _reach(places_R: Tensor, entered: int, left: int) -> tuple[Tensor, Tensor]:
    """Return the input places that lead to each output place, one more on both sides, and which of them there are."""
    width = -(-entered // left) + 2
    reached = (places_R * entered // left)[:, None] + torch.arange(width) - 1
    return reached.clamp(0, entered - 1), (reached >= 0) & (reached < entered)


def _some_positions(
    samples: int, positions: int, draws: torch.Generator, most: int = MAX_ROWS
) -> tuple[Tensor, Tensor, int]:
    """Draw positions of every sample, at most *most* in all: whose they are, which, and how many per sample."""
    per_sample = max(1, min(positions, most // samples))
    if per_sample == 1:
        return torch.arange(samples), torch.randint(positions, (samples,), generator=draws), 1
    drawn = torch.rand(samples, positions, generator=draws).argsort(1)[:, :per_sample]
    return torch.arange(samples).repeat_interleave(per_sample), drawn.flatten(), per_sample


READERS: dict[tuple[SiteKind, SiteKind], Callable[[Tensor, Tensor, torch.Generator], Rows]] = {
    (SiteKind.SITE_KIND_VECTOR, SiteKind.SITE_KIND_VECTOR): _whole_vector,
    (SiteKind.SITE_KIND_SEQUENCE, SiteKind.SITE_KIND_VECTOR): _pooled_sequence,
    (SiteKind.SITE_KIND_IMAGE, SiteKind.SITE_KIND_VECTOR): _filtered_image,
    (SiteKind.SITE_KIND_SEQUENCE, SiteKind.SITE_KIND_SEQUENCE): _steps_of_sequence,
    (SiteKind.SITE_KIND_IMAGE, SiteKind.SITE_KIND_IMAGE): _patches_of_image,
}
