"""What each stage needs and makes, as law tasks."""

from aframe.tasks.base import Pipeline, RunParameters, StageTask
from aframe.tasks.data import (
    FetchTask,
    FetchTest,
    FetchTrain,
    FetchZeroLag,
    InjectionTask,
    Query,
    StrainParameters,
    TestingWaveforms,
    TrainingWaveforms,
    ValidationWaveforms,
    WaveformTask,
)
from aframe.tasks.export import ExportLocal, StreamParameters
from aframe.tasks.infer import Infer
from aframe.tasks.sv import PAstro, Report, SensitiveVolume, Veto
from aframe.tasks.train import PreprocessingParameters, Train, TrainLocal
from aframe.tasks.tune import TuneTask

__all__ = [
    "ExportLocal",
    "FetchTest",
    "FetchTrain",
    "FetchZeroLag",
    "Infer",
    "PAstro",
    "Pipeline",
    "Query",
    "Report",
    "SensitiveVolume",
    "StageTask",
    "TestingWaveforms",
    "Train",
    "TrainLocal",
    "TrainingWaveforms",
    "TuneTask",
    "ValidationWaveforms",
    "Veto",
]

# What only other tasks build on is no task to run, and has no section and no options.
for _base in (
    FetchTask,
    InjectionTask,
    Pipeline,
    PreprocessingParameters,
    RunParameters,
    StageTask,
    StrainParameters,
    StreamParameters,
    WaveformTask,
):
    _base.deregister()
