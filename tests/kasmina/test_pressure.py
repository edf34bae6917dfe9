"""Growth pressure: high where a host starves, about nothing where it is wide; on real images."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from esper.kasmina.errors import SiteUnusable
from esper.kasmina.pressure import pressure
from esper.kasmina.slot import Slot
from esper.kasmina.window import Window
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE, SITE_KIND_VECTOR
from esper.leyline.v1.site_pb2 import Site, SitePressure
from tests.kasmina.growing_host import BLOCK, SPAN, Host, batches, digits, observed, train


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def measured(model: nn.Module, site: Site, epochs: int) -> SitePressure | None:
    """Train for *epochs* and return the pressure that the last one's batches show."""
    return pressure(site.seed_id, watched(model, site, epochs), random_seed=0)


def watched(model: nn.Module, site: Site, epochs: int) -> Window:
    """Train for *epochs* and watch the last one's batches."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    data = batches()
    train(model, optimizer, 44 * (epochs - 1), data=data)
    slot = Slot(site, model)
    slot.open_window()
    train(model, optimizer, 44, data=data)
    window = slot.close_window()
    assert window is not None
    return window


LOGITS = Site(seed_id="s3", label="1 -> 3", entry_module="1", exit_module="3")
IMAGE_TO_LOGITS = Site(seed_id="s4", label="0 -> 7", entry_module="0", exit_module="7")
SECOND_CONVOLUTION = Site(seed_id="s5", label="3", exit_module="3")
MIN_PRESSURE = 0.02


def strided(channels: int) -> nn.Sequential:
    """Two strided convolutions and a linear head."""
    return nn.Sequential(
        *(nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(4 * channels, 10)),
    )


def test_a_starved_host_keeps_a_pressure_and_a_wide_one_has_none():
    torch.manual_seed(5)
    starved, wide = measured(mlp(2), LOGITS, epochs=6), measured(mlp(128), LOGITS, epochs=6)
    assert starved is not None
    assert wide is not None
    assert starved.r_squared > 0.1
    assert wide.r_squared < MIN_PRESSURE
    assert starved.predicted_loss_decrease > 10 * max(wide.predicted_loss_decrease, 0.0)
    assert starved.samples == 44 * 32


def test_a_starved_convolutional_host_keeps_a_pressure_and_a_wide_one_has_none():
    torch.manual_seed(5)
    starved, wide = (measured(strided(channels), IMAGE_TO_LOGITS, epochs=6) for channels in (2, 32))
    assert starved is not None
    assert wide is not None
    assert starved.r_squared > 0.1
    assert wide.r_squared < MIN_PRESSURE


def test_a_bottleneck_is_widened_where_most_can_be_won():
    torch.manual_seed(5)
    span = measured(strided(2), IMAGE_TO_LOGITS, epochs=6)
    torch.manual_seed(5)
    inner = measured(strided(2), SECOND_CONVOLUTION, epochs=6)
    assert span is not None
    assert inner is not None
    # No step lowers a log loss by more than it is, however large the gradients at the site are.
    assert 0.0 < inner.predicted_loss_decrease < span.predicted_loss_decrease <= 0.5


@pytest.mark.parametrize(("model", "site"), [(strided(2), IMAGE_TO_LOGITS), (mlp(2), LOGITS)], ids=["image", "vector"])
def test_wishes_that_belong_to_other_samples_are_no_pressure(model: nn.Module, site: Site):
    seen = watched(model, site, epochs=2)
    strangers = torch.randperm(seen.samples, generator=torch.Generator().manual_seed(2))
    found = pressure("s0", Window(seen.input, seen.gradient[strangers], seen.shape), random_seed=0)
    assert found is not None
    assert found.r_squared < MIN_PRESSURE


def test_what_is_not_finite_is_not_measured():
    seen = watched(mlp(2), LOGITS, epochs=1)
    seen.gradient[3, 0] = torch.nan
    assert pressure("s0", seen, random_seed=0) is None


def test_the_same_window_gives_the_same_pressure_and_moves_no_random_stream():
    slot = Slot(BLOCK, Host())
    slot.open_window()
    images, labels = digits(64)
    F.cross_entropy(slot._model(images), labels).backward()
    window = slot.close_window()
    assert window is not None
    torch.manual_seed(1)
    first = pressure("s0", window, random_seed=3)
    drawn = torch.rand(2)
    torch.manual_seed(1)
    assert (pressure("s0", window, random_seed=3), torch.rand(2).tolist()) == (first, drawn.tolist())


def test_the_gradient_in_a_window_is_per_sample():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    slot = Slot(Site(seed_id="s0", label="1", exit_module="1"), model)
    images, labels = digits(20)
    slot.open_window()
    logits = model(images)
    F.cross_entropy(logits, labels).backward()
    window = slot.close_window()
    assert window is not None
    closed_form = logits.detach().softmax(1) - F.one_hot(labels, 10)
    torch.testing.assert_close(window.gradient, closed_form)
    assert window.shape.at_model_output


@pytest.mark.parametrize(
    ("site", "kinds", "at_output"),
    [(BLOCK, (SITE_KIND_IMAGE, SITE_KIND_IMAGE), False), (SPAN, (SITE_KIND_IMAGE, SITE_KIND_VECTOR), True)],
    ids=["block", "span"],
)
def test_a_window_learns_the_shape_of_a_site(site: Site, kinds: tuple[int, int], at_output: bool):
    shape = observed(Host(), site).shape
    assert shape is not None
    assert (shape.input_kind, shape.output_kind, shape.at_model_output) == (*kinds, at_output)
    assert shape.dtype == "float32"


def test_positions_of_an_image_are_predicted_from_around_them():
    found = measured(Host(), BLOCK, epochs=1)
    assert found is not None
    assert found.gradient_rms > 0.0
    assert found.r_squared < 1.0


def test_a_channels_first_sequence_is_read_as_a_sequence():
    model = nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(248, 10))
    slot = observed(model, Site(seed_id="s0", label="1", exit_module="1", layout="BCT"))
    assert slot.shape is not None
    assert (slot.shape.output_kind, list(slot.shape.output_size)) == (SITE_KIND_SEQUENCE, [62, 4])


def test_a_window_holds_no_more_samples_than_asked_for():
    model = Host()
    slot = Slot(BLOCK, model)
    slot.open_window(limit_samples=40)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 4)
    window = slot.close_window()
    assert window is not None
    assert window.samples == 40


class Twice(Host):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(self.conv(images)[:, :1])


def test_a_site_that_runs_twice_in_one_forward_shows_every_pass():
    slot = Slot(BLOCK, Twice())
    slot.open_window()
    images, labels = digits(6)
    F.cross_entropy(slot._model(images), labels).backward()
    window = slot.close_window()
    assert window is not None
    assert window.samples == 12


def test_a_site_that_returns_no_tensor_is_refused_by_name_and_the_forward_pass_is_not():
    model = nn.Sequential(nn.Flatten(2), nn.LSTM(64, 8))
    slot = Slot(Site(seed_id="s0", label="1", exit_module="1"), model)
    slot.open_window()
    model(digits(2)[0])
    with pytest.raises(SiteUnusable, match=r"a tuple of 2 .*esper.site\('1', output=0\)"):
        slot.close_window()


def test_a_span_that_ends_before_it_begins_is_refused_by_name():
    model = Host()
    slot = Slot(Site(seed_id="s0", label="head -> conv", entry_module="head", exit_module="conv"), model)
    slot.open_window()
    model(digits(2)[0])
    with pytest.raises(SiteUnusable, match="its entry does not run before its exit"):
        slot.close_window()
