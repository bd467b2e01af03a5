"""Cross-validation by subject: train and predict every fold, then score all of it together.

``plan.py`` says what is run, ``run.py`` runs it, ``outcome.py`` scores it, ``page.py`` shows it.  A run
folder holds ``run.json`` (the plan), ``trained/<name>/<fold>/`` (what each fold left), ``predictions/<variant>.csv``,
``truth.csv``, ``evaluation.json`` and ``report.html``.
"""

from metst.evaluation.outcome import evaluate_run
from metst.evaluation.page import write_run_report
from metst.evaluation.plan import Plan, Variant, make_plan, read_grid
from metst.evaluation.run import run_plan

__all__ = ["Plan", "Variant", "evaluate_run", "make_plan", "read_grid", "run_plan", "write_run_report"]
