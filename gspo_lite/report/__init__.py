"""The report and the model card of a run, made from the files in its folder."""

from gspo_lite.report.page import write_model_card, write_report
from gspo_lite.report.verdict import verdict

__all__ = ["verdict", "write_model_card", "write_report"]
