"""Runs side by side: the paper's three tables, which method with how many labels, and where it goes wrong.

gather   the run folders -> tasks, each with its runs and what the manifest says
tables   Tables 1, 2 and 3: the data, the methods, the unlabeled pool
claim    Semi-ViT with fewer labels against ViT with all
details  section 5.2 of one run: classes, confusions, calibration, coverage, the worst mistakes
figures  plots as SVG       gallery  pictures: mistakes, and where a model looks
whole    all of it as Markdown, JSON and one HTML page that needs nothing else
"""

from train.report.claim import answer, claim_text
from train.report.whole import Report, one_line, report, write_report

__all__ = ["Report", "answer", "claim_text", "one_line", "report", "write_report"]
