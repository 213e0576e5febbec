"""What the catalogue holds, written as the data sets that other tools read."""

from pipeline.export.dataset import ExportReport, ExportSettings, export
from pipeline.export.formats import FORMATS

__all__ = ["FORMATS", "ExportReport", "ExportSettings", "export"]
