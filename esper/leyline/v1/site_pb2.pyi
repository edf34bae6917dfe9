from esper.leyline.v1 import enums_pb2 as _enums_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Moment(_message.Message):
    __slots__ = ("step", "epoch")
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    step: int
    epoch: int
    def __init__(self, step: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Site(_message.Message):
    __slots__ = ("seed_id", "label", "entry_module", "exit_module", "output", "layout", "input_layout")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ENTRY_MODULE_FIELD_NUMBER: _ClassVar[int]
    EXIT_MODULE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    INPUT_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    label: str
    entry_module: str
    exit_module: str
    output: _containers.RepeatedScalarFieldContainer[str]
    layout: str
    input_layout: str
    def __init__(self, seed_id: _Optional[str] = ..., label: _Optional[str] = ..., entry_module: _Optional[str] = ..., exit_module: _Optional[str] = ..., output: _Optional[_Iterable[str]] = ..., layout: _Optional[str] = ..., input_layout: _Optional[str] = ...) -> None: ...

class SiteShape(_message.Message):
    __slots__ = ("input_kind", "input_size", "output_kind", "output_size", "dtype", "at_model_output")
    INPUT_KIND_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_KIND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    AT_MODEL_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    input_kind: _enums_pb2.SiteKind
    input_size: _containers.RepeatedScalarFieldContainer[int]
    output_kind: _enums_pb2.SiteKind
    output_size: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    at_model_output: bool
    def __init__(self, input_kind: _Optional[_Union[_enums_pb2.SiteKind, str]] = ..., input_size: _Optional[_Iterable[int]] = ..., output_kind: _Optional[_Union[_enums_pb2.SiteKind, str]] = ..., output_size: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., at_model_output: _Optional[bool] = ...) -> None: ...

class SitePressure(_message.Message):
    __slots__ = ("seed_id", "shape", "r_squared", "predicted_loss_decrease", "gradient_rms", "samples", "rows")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    R_SQUARED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_LOSS_DECREASE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_RMS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    shape: SiteShape
    r_squared: float
    predicted_loss_decrease: float
    gradient_rms: float
    samples: int
    rows: int
    def __init__(self, seed_id: _Optional[str] = ..., shape: _Optional[_Union[SiteShape, _Mapping]] = ..., r_squared: _Optional[float] = ..., predicted_loss_decrease: _Optional[float] = ..., gradient_rms: _Optional[float] = ..., samples: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class SeedObservation(_message.Message):
    __slots__ = ("seed_id", "stage", "generation", "blueprint_id", "epochs_in_stage", "alpha", "measured")
    class MeasuredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_IN_STAGE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    stage: _enums_pb2.SeedLifecycleStage
    generation: int
    blueprint_id: str
    epochs_in_stage: int
    alpha: float
    measured: _containers.ScalarMap[str, float]
    def __init__(self, seed_id: _Optional[str] = ..., stage: _Optional[_Union[_enums_pb2.SeedLifecycleStage, str]] = ..., generation: _Optional[int] = ..., blueprint_id: _Optional[str] = ..., epochs_in_stage: _Optional[int] = ..., alpha: _Optional[float] = ..., measured: _Optional[_Mapping[str, float]] = ...) -> None: ...

class BlendOptions(_message.Message):
    __slots__ = ("adds", "channel_shares", "steepness", "threshold", "lowest", "highest")
    ADDS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_SHARES_FIELD_NUMBER: _ClassVar[int]
    STEEPNESS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    adds: bool
    channel_shares: _containers.RepeatedScalarFieldContainer[float]
    steepness: float
    threshold: float
    lowest: float
    highest: float
    def __init__(self, adds: _Optional[bool] = ..., channel_shares: _Optional[_Iterable[float]] = ..., steepness: _Optional[float] = ..., threshold: _Optional[float] = ..., lowest: _Optional[float] = ..., highest: _Optional[float] = ...) -> None: ...
