"""Mixtures of experts; a part that cannot stand alone comes with the smallest companion that lets it work."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from esper.karn.modules.layers import OnPositions, running_mean, unflattened
from esper.karn.modules.rank_sum import mean_over_ranks
from esper.karn.modules.routing import ExpertBank, MapBank, Router, balanced, best
from esper.karn.route import Route
from esper.karn.widths import COMPANIONS, seats

BALANCE_WEIGHT = 0.01


class MixtureOfExperts(OnPositions):
    """BP036: the two best of `experts` for each position, of which an expert takes those that want it most.

    What finds no seat passes by. The router is pressed towards balance on the way back (`balanced`).
    """

    def __init__(self, way: Route, *, experts: int, capacity: float) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.seats = seats(self.positions, experts, capacity)
        self.router = Router(channels, experts)
        self.experts = ExpertBank(channels, 2 * channels, experts)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        probabilities = torch.softmax(self.router(entered), -1)
        _, chosen = best(probabilities.detach(), 2)
        shares, _ = best(balanced(probabilities, chosen, BALANCE_WEIGHT), 2)
        wanted_BEK, index_BEK = shares.transpose(1, 2).topk(self.seats, 2)
        rows = index_BEK.flatten(1).unsqueeze(-1).expand(-1, -1, entered.shape[-1])
        handed = unflattened(entered.gather(1, rows), 1, (wanted_BEK.shape[1], -1))
        answers = self.experts(handed) * wanted_BEK.unsqueeze(-1)
        return self.leave(torch.zeros_like(entered).scatter_add(1, rows, answers.flatten(1, 2).to(entered.dtype)))


class NoisyRouter(OnPositions):
    """BP-ROUTER-TOP2 (after Shazeer et al. 2017): the two best experts, chosen under noise while it learns."""

    def __init__(self, way: Route, *, experts: int, noise: float) -> None:
        super().__init__(way)
        self.noise = noise
        self.router = Router(way.channels_in, experts)
        # Ones that are dropped or doubled, less one: plus or minus one in training, nothing in evaluation.
        self.coin = nn.Dropout(0.5)
        self.experts = MapBank(way.channels_in, experts)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        scores = self.router(entered)
        noisy = scores + (self.coin(torch.ones_like(scores)) - 1.0) * self.noise
        shares, _ = best(torch.softmax(noisy, -1), 2)
        return self.leave(self.experts(entered, shares))


class BalancedRouter(OnPositions):
    """BP-ROUTER-MOE-AUXLOSS (after Fedus et al. 2022): the one best expert, and a balancing loss of given weight."""

    def __init__(self, way: Route, *, weight: float) -> None:
        super().__init__(way)
        self.weight = weight
        self.router = Router(way.channels_in, COMPANIONS)
        self.experts = MapBank(way.channels_in, COMPANIONS)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        probabilities = torch.softmax(self.router(entered), -1)
        _, chosen = best(probabilities.detach(), 1)
        return self.leave(self.experts(entered, balanced(probabilities, chosen, self.weight) * chosen))


class LoadBalancedRouter(OnPositions):
    """BP-LOAD-BAL-EMA: the two best experts; those that were busy lately, by a running mean, are scored down."""

    def __init__(self, way: Route, *, decay: float, strength: float) -> None:
        super().__init__(way)
        self.strength = strength
        self.router = Router(way.channels_in, COMPANIONS)
        # Only its running mean is read: the share of the positions that each expert was given.
        self.load = nn.BatchNorm1d(COMPANIONS, momentum=1.0 - decay, affine=False)
        self.experts = MapBank(way.channels_in, COMPANIONS)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        # Against the mean of the loads it would be the same: a softmax does not see what all scores have in common.
        scores = torch.sub(self.router(entered), running_mean(self.load), alpha=self.strength)
        shares, chosen = best(torch.softmax(scores, -1), 2)
        # Twice, because torch wants more than one number per expert even of a single position.
        self.load(chosen.to(running_mean(self.load).dtype).transpose(1, 2).repeat(1, 1, 2))
        return self.leave(self.experts(entered, shares))


class ExpertLayers(OnPositions):
    """BP-EXPERT-MLP-1D and -SWIGLU: layers of experts, all asked, mixed by a soft router that comes with them."""

    def __init__(self, way: Route, *, hidden: int, depth: int, experts: int, gated: bool) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.router = Router(channels, experts)
        self.layers = nn.ModuleList(ExpertBank(channels, hidden, experts, gated=gated) for _ in range(depth))

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features).unsqueeze(1)
        shares_BENx = torch.softmax(self.router(entered.squeeze(1)), -1).transpose(1, 2).unsqueeze(-1)
        first, *others = self.layers
        handed = entered.expand(-1, shares_BENx.shape[1], -1, -1)
        added = first(handed)
        for layer in others:
            added = added + layer(handed + added)
        return self.leave((added * shares_BENx.to(added.dtype)).sum(1))


class SortedExperts(OnPositions):
    """BP-CAP-FUSE-HFFN: positions sorted by their experts, first come first served, and one product for all experts."""

    def __init__(self, way: Route, *, capacity: float) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.channels, self.seats = channels, seats(self.positions, COMPANIONS, capacity)
        self.router = Router(channels, COMPANIONS)
        self.experts = ExpertBank(channels, channels, COMPANIONS)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        values, wanted = torch.softmax(self.router(entered), -1).topk(2, -1)
        wanted_BM, shares_BM = wanted.flatten(1), (values / values.sum(-1, keepdim=True)).flatten(1)
        order_BM = wanted_BM.argsort(dim=1, stable=True)
        expert_BM = wanted_BM.gather(1, order_BM)
        place_BM = torch.ones_like(expert_BM).cumsum(1) - 1
        first_BM = place_BM.where(self._begins(expert_BM), torch.zeros_like(place_BM)).cummax(1)[0]
        rank_BM = place_BM - first_BM
        nowhere = COMPANIONS * self.seats
        seat_BM = (expert_BM * self.seats + rank_BM).where(rank_BM < self.seats, torch.full_like(rank_BM, nowhere))
        rows_BMC = order_BM.div(2, rounding_mode="floor").unsqueeze(-1).expand(-1, -1, self.channels)
        seats_BMC = seat_BM.unsqueeze(-1).expand(-1, -1, self.channels)
        # One seat more than there are: whoever finds none sits there, and is not asked.
        room = entered.new_zeros(1, 1, 1).expand(entered.shape[0], nowhere + 1, self.channels)
        handed = room.scatter(1, seats_BMC, entered.gather(1, rows_BMC))[:, :nowhere]
        answers = self.experts(unflattened(handed, 1, (COMPANIONS, self.seats))).flatten(1, 2)
        told = nn.functional.pad(answers, (0, 0, 0, 1)).gather(1, seats_BMC)
        told = told * shares_BM.gather(1, order_BM).unsqueeze(-1).to(told.dtype)
        return self.leave(torch.zeros_like(entered).scatter_add(1, rows_BMC, told.to(entered.dtype)))

    @staticmethod
    def _begins(sorted_BM: Tensor) -> Tensor:
        """Say where in a sorted row another expert's positions begin."""
        return sorted_BM != nn.functional.pad(sorted_BM, (1, 0), value=-1)[:, :-1]


class ReducedExperts(OnPositions):
    """BP-ALL-REDUCE-SHARD: experts whose answers are averaged over all ranks; one process alone hears itself."""

    def __init__(self, way: Route) -> None:
        super().__init__(way)
        self.router = Router(way.channels_in, COMPANIONS)
        self.experts = ExpertBank(way.channels_in, way.channels_in, COMPANIONS)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        shares = torch.softmax(self.router(entered), -1).transpose(1, 2).unsqueeze(-1)
        answers = self.experts(entered.unsqueeze(1).expand(-1, COMPANIONS, -1, -1))
        told = (answers * shares.to(answers.dtype)).sum(1)
        return self.leave(mean_over_ranks(told) if dist.is_available() and dist.is_initialized() else told)
