"""Reports: the page and model card of a run, made from the files in its folder, and the comparison of several runs."""

from gspo_lite.report.page import write_comparison, write_reports
from gspo_lite.report.verdict import verdict

__all__ = ["verdict", "write_comparison", "write_reports"]
