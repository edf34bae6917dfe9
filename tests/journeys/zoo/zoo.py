"""All hosts of the zoo by name."""

from tests.journeys.zoo.host import Host
from tests.journeys.zoo.hosts import (
    compiled,
    dataclass_outputs,
    gpt,
    hooked,
    lstm,
    mixer,
    resnet,
    siamese,
    tabular,
    unet,
    vit,
)

ZOO: dict[str, Host] = {
    "resnet": resnet.HOST,
    "vit": vit.HOST,
    "gpt": gpt.HOST,
    "lstm": lstm.HOST,
    "unet": unet.HOST,
    "mixer": mixer.HOST,
    "tabular": tabular.HOST,
    "siamese": siamese.HOST,
    "hooked": hooked.HOST,
    "compiled": compiled.HOST,
    "dataclass_outputs": dataclass_outputs.HOST,
}
