"""A residual network with BatchNorm and in-place activations, after torchvision's."""

from tests.journeys.zoo.data import classified, images
from tests.journeys.zoo.host import Grown, Host
from tests.kasmina.zoo.hosts import ResNet

HOST = Host(
    build=ResNet,
    kept=Grown(("layer1", "layer2"), "layer1 -> layer2", "BP009"),
    culled=Grown("layer1.0", "layer1.0", "BP002"),
    data=images,
    loss=classified,
    kill_at_step=163,
)
